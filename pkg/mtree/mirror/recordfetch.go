package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// recordFetch records what a fetch brought of the files of n.
func (p *pass) recordFetch(n *node, h *fetchResult) {
	if h.err != nil {
		p.fail(n, n.path, h.err)
		return
	}
	p.tally(n, h)
	if len(h.names) > 0 {
		n.changed = true
		p.touch(n.path, h.names...)
	}
	if h.replaced {
		p.touch(n.parent.path)
	}
	p.addDeletions(n, h.deletions)
	for _, e := range h.verified {
		p.addVerified(n, e)
	}
	if h.moved+h.gone+h.unsettled > 0 {
		n.blocked = true
	}
	for _, f := range h.failed {
		p.fail(n, f.path, f.err)
	}
}

// tally counts what a fetch brought.
func (p *pass) tally(n *node, h *fetchResult) {
	stats := p.config.Stats
	p.result.fetched += int64(len(h.names)) - h.taken
	p.result.bytes += h.bytes
	p.result.made += h.made
	p.result.moved += h.moved + h.gone
	p.result.unsettled += h.unsettled
	stats.Files.Add(int64(len(h.names)) - h.taken)
	stats.Taken.Add(h.taken)
	stats.Bytes.Add(h.bytes)
	stats.Unsettled.Add(h.unsettled)
	p.skip(n, h.denied, "files the source may not read")
}

// recordSums records what comparing files of n by their sums found.
func (p *pass) recordSums(n *node, c *sumResult) {
	if c.err != nil {
		p.fail(n, n.path, c.err)
		return
	}
	for _, change := range c.equal {
		p.addVerified(n, change.Want)
	}
	for _, f := range c.failed {
		p.fail(n, f.path, f.err)
	}
	if c.modes > 0 {
		n.changed = true
		p.touch(n.path)
	}
	p.addFetches(n, c.differ)
}

// addVerified notes a file whose bytes are known, if its ctime would make it suspicious
// at the next visit.
func (p *pass) addVerified(n *node, e *mtree.Entry) {
	listed := n.record.Now
	if n.had {
		listed = n.before.Now
	}
	if e.Has&mtree.HasCTime != 0 && e.CTime.After(listed.Add(-plan.CTimeSlack)) {
		p.work.verified.add(mtree.JoinPath(n.path, e.Name), e, n.record.Now)
	}
}
