package pass

import (
	"time"
)

// reportEvery is how often progress is reported, at most.
const reportEvery = 250 * time.Millisecond

// report calls Progress, if the last call was long ago or the pass is done.
func (p *pass) report(done bool) {
	if p.options.Progress == nil || !done && time.Since(p.reported) < reportEvery/2 {
		return
	}
	p.reported = time.Now()
	r := &p.result
	p.options.Progress(Progress{
		Took: time.Since(p.start), Listed: r.Listed, Fetched: r.Fetched, Bytes: p.arriving.Load(), WantFiles: r.wantFiles, WantBytes: r.wantBytes,
		Deleted: r.Deleted, Failed: r.Failed, Pending: p.queue.pending() + p.running, Done: done,
	})
}
