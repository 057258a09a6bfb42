package pass

import (
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/work"
	"tidemark/pkg/mtree/wire"
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
	known, finished := p.known()
	p.options.Progress(Progress{
		Took: time.Since(p.start), Listed: r.Listed, Fetched: r.Fetched, Bytes: p.arriving.Load(), WantFiles: r.wantFiles, WantBytes: r.wantBytes,
		Deleted: r.Deleted, Failed: r.Failed, Pending: p.queue.pending() + p.running, Done: done,
		Whole: r.Whole, Visits: p.queue.counts.visits, Known: known, Finished: finished,
	})
}

// known returns what the pass gets to, as far as it is known, and what is finished of that. Of a file
// that is under way the bytes that arrived are finished.
func (p *pass) known() (known, finished wire.Entries) {
	c := &p.queue.counts
	if known = p.result.Listing; !p.result.Whole {
		known = wire.Entries{Files: c.settledFiles + c.waitingFiles, Bytes: c.settledBytes + c.waitingBytes}
	}
	// guard (-p.result.Copied -> ): TestWhatIsCopiedIsNotUnderWay
	underWay := min(max(0, p.arriving.Load()-p.result.Bytes-p.result.Copied), c.waitingBytes)
	finished = known
	finished.Files = max(0, known.Files-c.waitingFiles)
	finished.Bytes = max(0, known.Bytes-(c.waitingBytes-underWay))
	return known, finished
}

// beginCounts begins to count once it is known whether the pass is a full walk. A copy that was never
// complete may have directories that are: the pass does not list them, and an earlier one counted them.
func (p *pass) beginCounts() {
	r, status := &p.result, p.env.Replica.Status()
	r.filling = !status.IsComplete()
	r.Whole = p.full || r.filling
	if r.filling && !p.full && status.Filled != nil {
		r.Listing, r.Filled = *status.Filled, *status.Filled
	}
}

// isCounted reports whether the directory of n is counted among those that were complete before.
func (p *pass) isCounted(n *node) bool { return p.result.filling && !p.full && n.intact }

// countListed counts what a listing has.
func (p *pass) countListed(n *node, v *work.VisitResult) {
	if v.Listing.IsPart() {
		p.result.PassedOver = true
		return
	}
	if len(v.Below) < len(v.Plan.Dirs) {
		p.result.PassedOver = true // guard: TestEntriesOfAFirstCopyThatWentOn
	}
	for i := range v.Listing.Entries {
		if e := &v.Listing.Entries[i]; e.Kind == mtree.File {
			n.files++
			n.bytes += max(0, e.Size)
		}
	}
	if !p.isCounted(n) {
		add(&p.result.Listing, n)
	}
}

// countStamped counts a directory that is complete now.
func (p *pass) countStamped(n *node) {
	if p.result.filling && !n.part && !p.isCounted(n) {
		add(&p.result.Filled, n)
	}
}

// add adds a directory, with the files in it.
func add(e *wire.Entries, n *node) {
	e.Directories++
	e.Files += n.files
	e.Bytes += n.bytes
}
