package mirror

import (
	"context"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// delete takes away what the source no longer has, after everything was fetched
// and if the guards let it; what they refuse is held. Deepest first: where
// something below a directory failed, nothing in it is deleted, for what is
// missing there may have moved down.
func (p *pass) delete(ctx context.Context) error {
	nodes := p.doomed
	slices.SortStableFunc(nodes, func(a, b *node) int { return b.depth() - a.depth() })
	p.markReleased(nodes)
	p.carry(nodes)
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
	slices.SortStableFunc(p.holding, func(a, b heldEntry) int { return strings.Compare(a.why, b.why) })
	p.heldWhy = (&heldList{entries: p.holding}).why()
	if p.config.DryRun {
		return nil
	}
	err := p.storeHeld()
	if disk.IsFull(err) {
		p.lacksRoom(err)
		p.config.Log.Warn("what is held could not be written down", "error", err, "remedy", makeRoom)
		return nil
	}
	return err
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

// guard says why nothing of what waits may be deleted, what has a reason of its
// own and what was released apart; "" if it may.
func (p *pass) guard(waiting []*node) string {
	total := p.carried
	released := false
	for _, n := range waiting {
		for d := range n.allDoomed() {
			released = released || d.released && d.why == ""
			if !d.released && d.why == "" {
				total += d.entries
			}
		}
	}
	why := p.share(total, released)
	switch {
	case total == 0:
		return ""
	case p.holdAll != "":
		return p.holdAll
	case p.emptiesRoot(waiting) && p.emptyRoot:
		return "the source's root is empty"
	case p.emptiesRoot(waiting):
		return "nothing would be left in the root"
	case p.source.State == wire.Filling:
		return "the source is a copy that is not complete yet"
	}
	return why
}

// emptiesRoot reports whether nothing would be left in the copy's root: the
// source has nothing there, or nothing that can be had.
func (p *pass) emptiesRoot(waiting []*node) bool {
	i := slices.IndexFunc(waiting, func(n *node) bool { return n.parent == nil })
	if i < 0 || len(waiting[i].doomed) == 0 {
		return false
	}
	root := waiting[i]
	if p.emptyRoot {
		return slices.ContainsFunc(root.doomed, func(d doomed) bool { return !d.released && d.why == "" })
	}
	if int64(len(root.doomed)) < p.inRoot || p.noRoom != nil {
		return false // what comes had no room yet
	}
	left := map[string]bool{}
	names, err := p.dest.root.Names()
	for _, name := range names {
		left[name] = true
	}
	for i := range root.doomed {
		delete(left, root.doomed[i].name)
	}
	return err == nil && len(left) == 0
}

// refuse holds the deletions of nodes for which there is a reason, but for those
// that were released. With --no-delete these are the only ones that go on: the
// others were held before, and their reason is gone.
func (p *pass) refuse(waiting []*node, why string) {
	for _, n := range waiting {
		kept := n.doomed[:0:0]
		for _, d := range n.doomed {
			if p.lets(n, &d, why) {
				kept = append(kept, d)
			}
		}
		swaps := n.swaps[:0:0]
		for _, s := range n.swaps {
			if p.lets(n, &s.doomed, why) {
				swaps = append(swaps, s)
			} else {
				_ = p.dest.aside.Dir().RemoveTree(s.staged)
			}
		}
		n.doomed, n.swaps = kept, swaps
	}
}

// lets reports whether a deletion goes on; if not it is held, unless nobody
// wants it any more.
func (p *pass) lets(n *node, d *doomed, why string) bool {
	if d.why != "" {
		why = d.why
	}
	switch {
	case d.released:
		return true
	case why == "":
		return !p.config.NoDelete
	}
	n.blocked = true
	p.hold(heldEntry{path: mtree.JoinPath(n.path, d.name), why: why, doomed: *d})
	return false
}

func (p *pass) hold(e heldEntry) {
	p.held += e.entries
	p.holding = append(p.holding, e)
}

// remove deletes the doomed entries of one directory and swaps in what replaces
// directories. A doomed tree loses its name first, so that it is there as a
// whole or not at all. System calls for each:
//
//	unlinkat, or renameat into the aside and unlinkat for all below; with
//	filters unlinkat for all below that they do not exclude
func (p *pass) remove(n *node) step {
	return func(context.Context) func() {
		var r removal
		dir, err := p.openToChange(n)
		if err != nil {
			r.fail(n, "", err)
			return func() { p.removed(n, &r) }
		}
		defer dir.Close()
		for i := range n.doomed {
			d := &n.doomed[i]
			count, err := p.dest.removeTree(dir, d, mtree.JoinPath(n.path, d.name))
			r.count(d, count)
			if err != nil {
				r.fail(n, d.name, err)
			}
		}
		for i := range n.swaps {
			s := &n.swaps[i]
			if err := p.dest.aside.Exchange(s.staged, dir, s.name); err != nil {
				r.fail(n, s.name, err)
				continue
			}
			r.swapped++
			count, err := p.dest.aside.Dir().ClearTree(s.staged, s.why == whyTree)
			r.count(&s.doomed, count)
			if err != nil {
				r.fail(n, s.name, err)
			}
		}
		return func() { p.removed(n, &r) }
	}
}

// removal is what became of the deletions of one directory.
type removal struct {
	deleted  int64 // entries
	released int64 // of these
	swapped  int64 // names that something else has now
	failed   []failure
}

func (r *removal) count(d *doomed, n int64) {
	r.deleted += n
	if d.released {
		r.released += n
	}
}

func (r *removal) fail(n *node, name string, err error) {
	r.failed = append(r.failed, failure{mtree.JoinPath(n.path, name), local(err)})
}

// removed notes deletions; the node is settled by the end of its step.
func (p *pass) removed(n *node, r *removal) {
	if len(p.dest.uncopied) > 0 {
		for d := range n.allDoomed() {
			p.goneDirs[mtree.JoinPath(n.path, d.name)] = d.kind == mtree.Dir
		}
	}
	n.doomed, n.swaps = nil, nil
	p.deleted += r.deleted
	p.made += r.swapped
	p.deletedNow(r.deleted - r.released)
	p.config.Stats.Deleted.Add(r.deleted)
	if r.deleted+r.swapped > 0 {
		n.changed = true
		p.touch(n.path)
	}
	for _, f := range r.failed {
		p.fail(n, f.path, f.err)
	}
}
