package mirror

import (
	"context"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// delete takes away what the source no longer has, after everything was fetched
// and if the guards let it; what they refuse is held. Deepest first: where
// something below a directory failed, nothing in it is deleted, for what is
// missing there may have moved down.
func (p *pass) delete(ctx context.Context) error {
	nodes := p.deleting
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
		p.deleting = nodes
		if err := p.work(ctx); err != nil {
			return err
		}
	}
	now := replica.HeldList{Entries: p.holding}
	now.Sort()
	p.heldWhy = now.Why()
	if p.config.DryRun {
		return nil
	}
	err := p.storeHeld()
	if disk.IsFull(err) {
		p.lacksRoom(err)
		p.config.Log.Warn("what is held could not be written down", "error", err, "remedy", replica.MakeRoom)
		return nil
	}
	return err
}

// carryOut begins the deletions of n, unless something in it or below failed.
func (p *pass) carryOut(n *node) {
	switch {
	case len(n.deletions) == 0:
	case n.failed:
		n.blocked = true
		p.unstage(n)
	case p.config.DryRun:
		p.deleted += replica.CountDeletions(n.deletions)
	default:
		p.add(n, p.remove(n))
	}
	p.done(n)
}

// abandonDeletions gives up what an error kept from being looked at.
func (p *pass) abandonDeletions() {
	for _, d := range p.large {
		d.n.blocked = true
		p.done(d.n)
	}
	p.large = nil
	for _, n := range p.deleting {
		n.blocked = true
		p.unstage(n)
		p.done(n)
	}
	p.deleting = nil
}

// unstage removes what was to replace directories.
func (p *pass) unstage(n *node) {
	for i := range n.deletions {
		p.dest.Abandon(&n.deletions[i])
	}
	n.deletions = nil
}

// guard says why nothing of what waits may be deleted, what has a reason of its
// own and what was released apart; "" if it may.
func (p *pass) guard(waiting []*node) string {
	total := p.carried
	released := false
	for _, n := range waiting {
		for i := range n.deletions {
			d := &n.deletions[i]
			released = released || d.Released && d.Why == ""
			if !d.Released && d.Why == "" {
				total += d.Entries
			}
		}
	}
	made := p.made
	if p.config.DryRun {
		made = 0 // none of it is in the copy
	}
	why := p.gate.Refuse(total, made, released)
	switch {
	case total == 0:
		return ""
	case p.holdAll != "":
		return p.holdAll
	case p.emptiesRoot(waiting) && p.emptyRoot:
		return "the source's root is empty"
	case p.emptiesRoot(waiting):
		return "nothing would be left in the root"
	case p.source.state == wire.Filling:
		return "the source is a copy that is not complete yet"
	}
	return why
}

// emptiesRoot reports whether nothing would be left in the copy's root: the
// source has nothing there, or nothing that can be had.
func (p *pass) emptiesRoot(waiting []*node) bool {
	i := slices.IndexFunc(waiting, func(n *node) bool { return n.parent == nil })
	if i < 0 {
		return false
	}
	doomed := make([]*replica.Deletion, 0, len(waiting[i].deletions))
	for j := range waiting[i].deletions {
		if d := &waiting[i].deletions[j]; !d.IsReplacement() {
			doomed = append(doomed, d)
		}
	}
	if len(doomed) == 0 {
		return false
	}
	if p.emptyRoot {
		return slices.ContainsFunc(doomed, func(d *replica.Deletion) bool { return !d.Released && d.Why == "" })
	}
	if int64(len(doomed)) < p.inRoot || p.noRoom != nil {
		return false // what comes had no room yet
	}
	left := map[string]bool{}
	names, err := p.dest.Root.Names()
	for _, name := range names {
		left[name] = true
	}
	for _, d := range doomed {
		delete(left, d.Name())
	}
	return err == nil && len(left) == 0
}

// refuse holds the deletions of nodes for which there is a reason, but for those
// that were released. With --no-delete these are the only ones that go on: the
// others were held before, and their reason is gone.
func (p *pass) refuse(waiting []*node, why string) {
	for _, n := range waiting {
		n.deletions = slices.DeleteFunc(n.deletions, func(d replica.Deletion) bool {
			if p.lets(n, d, why) {
				return false
			}
			p.dest.Abandon(&d)
			return true
		})
	}
}

// lets reports whether a deletion goes on; if not it is held, unless nobody
// wants it any more.
func (p *pass) lets(n *node, d replica.Deletion, why string) bool {
	if d.Why == "" {
		d.Why = why
	}
	switch {
	case d.Released:
		return true
	case d.Why == "":
		return !p.config.NoDelete
	}
	n.blocked = true
	p.hold(d)
	return false
}

func (p *pass) hold(e replica.Deletion) {
	p.held += e.Entries
	p.holding = append(p.holding, e)
}

// remove carries out the deletions of one directory.
func (p *pass) remove(n *node) step {
	return func(context.Context) func() {
		var r removal
		dir, err := p.openToChange(n)
		if err != nil {
			r.fail(n.path, err)
			return func() { p.removed(n, &r) }
		}
		defer dir.Close()
		for i := range n.deletions {
			d := &n.deletions[i]
			count, replaced, err := p.dest.Delete(dir, d)
			r.count(d, count)
			if replaced {
				r.swapped++
			}
			if err != nil {
				r.fail(d.Path, err)
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

func (r *removal) count(d *replica.Deletion, n int64) {
	r.deleted += n
	if d.Released {
		r.released += n
	}
}

func (r *removal) fail(path string, err error) {
	r.failed = append(r.failed, failure{path, replica.Local(err)})
}

// removed notes deletions; the node is settled by the end of its step.
func (p *pass) removed(n *node, r *removal) {
	if len(p.dest.Uncopied()) > 0 {
		for i := range n.deletions {
			p.goneDirs[n.deletions[i].Path] = n.deletions[i].Kind == mtree.Dir
		}
	}
	n.deletions = nil
	p.deleted += r.deleted
	p.made += r.swapped
	p.gate.Deleted(r.deleted - r.released)
	p.config.Stats.Deleted.Add(r.deleted)
	if r.deleted+r.swapped > 0 {
		n.changed = true
		p.touch(n.path)
	}
	for _, f := range r.failed {
		p.fail(n, f.path, f.err)
	}
}
