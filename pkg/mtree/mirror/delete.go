package mirror

import (
	"context"
	"fmt"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// delete takes away what the source no longer has, after everything was fetched
// and if the guards let it; what they refuse is held. Deepest first: where
// something below a directory failed, nothing in it is deleted, for what is
// missing there may have moved down.
func (p *pass) delete(ctx context.Context) error {
	nodes := p.doomed
	slices.SortStableFunc(nodes, func(a, b *node) int { return b.depth() - a.depth() })
	p.refuse(nodes, p.guard(nodes))
	for len(nodes) > 0 {
		level := 0
		for level < len(nodes) && nodes[level].depth() == nodes[0].depth() {
			p.carryOut(nodes[level])
			level++
		}
		nodes = nodes[level:]
		p.doomed = nodes
		if err := p.work(ctx); err != nil {
			return err
		}
	}
	if p.config.DryRun {
		return nil
	}
	return p.storeHeld()
}

// carryOut begins the deletions of n, unless something in it or below failed.
func (p *pass) carryOut(n *node) {
	switch {
	case n.deletions() == 0:
	case n.failed:
		n.blocked = true
		p.unstage(n)
	case p.config.DryRun:
		p.deleted += n.deletions()
	default:
		p.add(n, p.remove(n))
	}
	p.done(n)
}

// spare gives up what an error kept from being looked at.
func (p *pass) spare() {
	for _, d := range p.large {
		d.n.blocked = true
		p.done(d.n)
	}
	p.large = nil
	for _, n := range p.doomed {
		n.blocked = true
		p.unstage(n)
		p.done(n)
	}
	p.doomed = nil
}

// unstage removes what was to replace directories.
func (p *pass) unstage(n *node) {
	for i := range n.swaps {
		_ = p.dest.aside.Dir().RemoveTree(n.swaps[i].staged)
	}
	n.swaps = nil
}

// guard says why nothing of what waits may be deleted; "" if it may.
func (p *pass) guard(waiting []*node) string {
	var total int64
	for _, n := range waiting {
		total += n.deletions()
		if n.parent == nil && p.emptyRoot && len(n.doomed) > 0 {
			return "the source's root is empty"
		}
	}
	base := p.dest.entries()
	if base == 0 {
		base = p.inCopy + p.belowExtra(waiting)
	}
	switch {
	case total == 0:
		return ""
	case p.holdAll != "":
		return p.holdAll
	case p.source.state == disk.Filling:
		return "the source is a copy that is not complete yet"
	case p.rules.limit.exceeded(total-p.released(waiting), base):
		return fmt.Sprintf("%d of %d entries would go, --max-delete is %s", total, base, p.rules.limit)
	}
	return ""
}

// belowExtra counts what stands in doomed directories, which no visit counted.
func (p *pass) belowExtra(waiting []*node) (n int64) {
	for _, w := range waiting {
		n += w.deletions() - int64(len(w.doomed)+len(w.swaps))
	}
	return n
}

// refuse holds the deletions of nodes, if there is a reason to, but for those
// that were released.
func (p *pass) refuse(waiting []*node, why string) {
	if why == "" {
		return
	}
	p.heldWhy = why
	for _, n := range waiting {
		kept := n.doomed[:0:0]
		for _, d := range n.doomed {
			if p.release.has(n.path, &d) {
				kept = append(kept, d)
			} else {
				p.hold(n, &d)
			}
		}
		swaps := n.swaps[:0:0]
		for _, s := range n.swaps {
			if p.release.has(n.path, &s.doomed) {
				swaps = append(swaps, s)
			} else {
				p.hold(n, &s.doomed)
				_ = p.dest.aside.Dir().RemoveTree(s.staged)
			}
		}
		n.doomed, n.swaps = kept, swaps
	}
}

func (p *pass) hold(n *node, d *doomed) {
	n.blocked = true
	p.held += d.entries
	p.holding = append(p.holding, heldEntry{path: mtree.JoinPath(n.path, d.name), doomed: *d})
}

// remove deletes the doomed entries of one directory and swaps in what replaces
// directories. A doomed tree loses its name first, so that it is there as a
// whole or not at all. System calls for each:
//
//	unlinkat, or renameat into the aside and unlinkat for all below; with
//	filters unlinkat for all below that they do not exclude
func (p *pass) remove(n *node) step {
	return func(context.Context) func() {
		var deleted int64
		var failed []failure
		fail := func(name string, err error) {
			failed = append(failed, failure{mtree.JoinPath(n.path, name), local(err)})
		}
		dir, err := p.openToChange(n)
		if err != nil {
			fail("", err)
			return func() { p.removed(n, 0, failed) }
		}
		defer dir.Close()
		for i := range n.doomed {
			name := n.doomed[i].name
			count, err := p.dest.removeTree(dir, &n.doomed[i], mtree.JoinPath(n.path, name))
			if err != nil {
				fail(name, err)
				continue
			}
			deleted += count
		}
		for i := range n.swaps {
			s := &n.swaps[i]
			err := p.dest.aside.Exchange(s.staged, dir, s.name)
			if err == nil {
				err = p.dest.aside.Dir().RemoveTree(s.staged)
			}
			if err != nil {
				fail(s.name, err)
				continue
			}
			deleted += s.entries
		}
		return func() { p.removed(n, deleted, failed) }
	}
}

// removed notes deletions; the node is settled by the end of its step.
func (p *pass) removed(n *node, deleted int64, failed []failure) {
	n.doomed, n.swaps = nil, nil
	p.deleted += deleted
	p.config.Stats.Deleted.Add(deleted)
	if deleted > 0 {
		n.changed = true
		p.touch(n.path)
	}
	for _, f := range failed {
		p.fail(n, f.path, f.err)
	}
}
