package mirror

import (
	"math"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// entryBytes is how many bytes of content take about as long as a file or a directory, besides its
// content: 10,000 to 50,000 entries a second come in over networks of 100 MB/s and more.
const entryBytes = 4 << 10

// work returns what entries take, in bytes. It is a float because a source may say any numbers.
func workOf(e wire.Entries) float64 {
	return (float64(e.Files)+float64(e.Directories))*entryBytes + float64(e.Bytes)
}

// longestLeft is the longest time until the end that is told.
const longestLeft = 99 * 24 * time.Hour

// estimate returns how far a pass has got, given what the source counted.
func estimate(p *pass.Progress, counted wire.Entries, m *meter) Progress {
	out := Progress{
		Took: p.Took, Listed: p.Listed, Fetched: p.Fetched, Bytes: p.Bytes, WantFiles: p.WantFiles, WantBytes: p.WantBytes,
		Deleted: p.Deleted, Failed: p.Failed, Pending: p.Pending, Done: p.Done, Finished: p.Finished, Permill: -1, Left: -1,
	}
	finished := workOf(p.Finished)
	speed, rate := m.note(p.Took, finished, p.Bytes)
	out.Rate = rate
	switch {
	case p.Visits == 0:
		out.Total = p.Known
	case !p.Whole || p.Known.Files > counted.Files || p.Known.Directories > counted.Directories || p.Known.Bytes > counted.Bytes:
		return out // the tree has grown since it was counted, or was not
	default:
		out.Total, out.About = counted, true
	}
	total := workOf(out.Total)
	if total <= 0 {
		return out
	}
	out.Permill = int64(math.Floor(1000 * min(1, max(0, finished/total))))
	if out.About {
		out.Permill = min(out.Permill, 999) // some directory is still to be listed
	}
	if left := max(0, total-finished) / speed * float64(time.Second); speed > 0 && left <= float64(longestLeft) {
		out.Left = time.Duration(left)
	}
	return out
}

// meter measures speeds over the last seconds.
type meter struct {
	samples []sample // the oldest first
}

// sample is what was done at one moment.
type sample struct {
	at    time.Duration // since the pass began
	work  float64
	bytes int64
}

// A speed is that of the last seconds: since the latest sample that is older than window.
const (
	window      = 5 * time.Second
	sampleEvery = 500 * time.Millisecond
	leastSpan   = time.Second
)

// note returns the speeds up to a moment, of work and of bytes, for a second. At first the speed of
// work is not known: 0.
func (m *meter) note(at time.Duration, work float64, bytes int64) (speed float64, rate int64) {
	if n := len(m.samples); n == 0 || at-m.samples[n-1].at >= sampleEvery {
		m.samples = append(m.samples, sample{at, work, bytes})
	}
	for len(m.samples) > 1 && at-m.samples[1].at >= window {
		m.samples = append(m.samples[:0], m.samples[1:]...)
	}
	from := m.samples[0]
	if at-from.at < leastSpan {
		return 0, perSecond(bytes, max(at, sampleEvery))
	}
	return max(0, work-from.work) / (at - from.at).Seconds(), perSecond(bytes-from.bytes, at-from.at)
}

// perSecond returns bytes per second, of a number that may be anything.
func perSecond(bytes int64, in time.Duration) int64 {
	return int64(min(float64(max(0, bytes))/in.Seconds(), math.MaxInt64/2))
}

// reportLong is how long a pass runs until its progress is written into the status and told to the
// service manager, and how often that is done again.
const reportLong = 3 * time.Second

// reporter tells how far one pass has got.
type reporter struct {
	m       *mirror
	counted wire.Entries // what the source has
	began   mtree.Stamp
	meter   meter
	told    time.Duration // of Progress.Took, when it was told at length
}

// reporter returns the one for a pass over root.
func (m *mirror) reporter(root *source.Root) *reporter {
	return &reporter{m: m, counted: root.Counted, began: m.config.Now()}
}

// report tells it to the terminal; also to others, if the pass takes long.
func (r *reporter) report(p pass.Progress) {
	c := &r.m.config
	now := estimate(&p, r.counted, &r.meter)
	if c.Progress != nil {
		c.Progress(now)
	}
	if p.Done || p.Took-r.told < reportLong {
		return
	}
	r.told = p.Took
	c.Notify("copying: " + now.Line(longestNotice))
	if !c.DryRun {
		r.store(&now)
	}
}

// store writes it into the status.
func (r *reporter) store(p *Progress) {
	m := r.m
	err := m.replica.UpdateStatus(func(s *state.Status) bool {
		s.Pass = p.asState(r.began)
		if !s.IsComplete() {
			replica.NoteSource(s, r.counted, m.config.selects())
		}
		return true
	})
	if err != nil {
		m.config.Log.Debug("status", "error", err)
	}
}
