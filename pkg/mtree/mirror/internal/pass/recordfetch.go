package pass

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// recordFetch records what a fetch brought of the files of n.
func (p *pass) recordFetch(n *node, h *fetch.Result) {
	if h.Err != nil {
		p.fail(n, n.Path, h.Err)
		return
	}
	p.tally(n, h)
	p.tellFetch(n, h)
	if len(h.Names) > 0 {
		n.changed = true
		p.touch(n.Path, h.Names...)
		n.news.add(h.Names...)
	}
	if h.Replaced {
		p.touch(n.parent.Path)
	}
	p.addDeletions(n, h.Deletions)
	for _, e := range h.Verified {
		p.addVerified(n, e)
	}
	if h.Told != nil {
		// If the source is rolled back now, the stamp shows it.
		if err := p.options.Listed(h.Told, false); err != nil { // guard: TestAStampThatConfirmedIsNoted
			n.blocked = true // guard: TestAStampThatConfirmedIsNoted
			p.halt(exit.With(exit.Local, err, ""))
		}
	}
	if h.Moved+h.Gone+h.Unsettled > 0 {
		n.blocked, n.uncompared = true, true
	}
	for _, f := range h.Failed {
		p.fail(n, f.Path, f.Err)
	}
}

// tally counts what a fetch brought.
func (p *pass) tally(n *node, h *fetch.Result) {
	counters := &p.options.Counters
	p.result.Fetched += int64(len(h.Names)) - h.Taken
	p.result.Bytes += h.Bytes
	p.result.Copied += h.Copied
	p.result.Made += h.Made
	p.result.Moved += h.Moved + h.Gone
	p.result.Unsettled += h.Unsettled
	counters.Files.Add(int64(len(h.Names)) - h.Taken)
	counters.Taken.Add(h.Taken)
	counters.Bytes.Add(h.Bytes)
	counters.Unsettled.Add(h.Unsettled)
	if h.Denied > 0 && n.known != (mtree.Stamp{}) {
		n.Record.Now = n.known // it may be readable one day with the ctime that it has now
	}
	p.countSkipped(h.Refused)
	p.addUncopied(n.Path, h.Older)  // guard: TestWhatOnlyTheAnswerTells
	p.addUncopied(n.Path, h.Denied) // guard: TestWhatTheSourceMayNotRead
	p.skip(n, h.Denied, "files the source may not read")
}

// recordSums records what comparing files of n by their sums found.
func (p *pass) recordSums(n *node, c *work.SumResult) {
	if c.Err != nil {
		p.fail(n, n.Path, c.Err)
		return
	}
	p.tellSums(n, c)
	for _, change := range c.Equal {
		p.addVerified(n, change.Want)
	}
	for _, f := range c.Failed {
		p.fail(n, f.Path, f.Err)
	}
	if c.Modes > 0 {
		n.changed = true
		p.touch(n.Path)
	}
	p.addFetches(n, c.Differ)
}

// addVerified remembers a file whose bytes are known, if its ctime would make it suspect
// at the next visit.
func (p *pass) addVerified(n *node, e *mtree.Entry) {
	listed := n.now
	if n.had {
		listed = n.before.Now
		if n.Record.Now == n.known {
			listed = mtree.Earlier(listed, n.known)
		}
	}
	if e.Has&mtree.HasCTime != 0 && e.CTime.After(listed.Add(-plan.CTimeSlack)) {
		p.env.Verified.Add(mtree.JoinPath(n.Path, e.Name), e, n.now)
	}
}
