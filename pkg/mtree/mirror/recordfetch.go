package mirror

// recordFetch records what a fetch brought.
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
	for _, e := range h.seen {
		p.sighted(n, e)
	}
	if h.moved+h.gone+h.unsettled > 0 {
		n.blocked = true
	}
	for _, f := range h.failed {
		p.fail(n, f.path, f.err)
	}
}

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

// recordSums records what comparing sums found.
func (p *pass) recordSums(n *node, c *sumResult) {
	if c.err != nil {
		p.fail(n, n.path, c.err)
		return
	}
	for _, change := range c.equal {
		p.sighted(n, change.Want)
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
