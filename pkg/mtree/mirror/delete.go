package mirror

import (
	"context"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"

	"tidemark/pkg/mtree/mirror/internal/work"
)

// delete deletes what the source no longer has, after everything was fetched, if the
// guards allow it; what they refuse is held. The deepest directories come first. If
// something below a directory failed, nothing in the directory is deleted, for a
// missing entry may have moved down there.
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
		if err := p.takeSteps(ctx); err != nil {
			return err
		}
	}
	now := replica.HeldList{Entries: p.holding}
	now.Sort()
	p.result.heldWhy = now.Why()
	if p.config.DryRun {
		return nil
	}
	err := p.storeHeld()
	if disk.IsFull(err) {
		p.noteFull(err)
		p.config.Log.Warn("what is held could not be written down", "error", err, "remedy", replica.MakeRoom)
		return nil
	}
	return err
}

// carryOut begins the deletions of n, unless something in or below it failed.
func (p *pass) carryOut(n *node) {
	switch {
	case len(n.deletions) == 0:
	case n.failed:
		n.blocked = true
		p.unstage(n)
	case p.config.DryRun:
		p.result.deleted += replica.CountDeletions(n.deletions)
	default:
		n.open++
		p.queue.steps = append(p.queue.steps, task{kind: deleteTask, files: []nodeFiles{{n: n}}})
	}
	p.done(n)
}

// abandonDeletions ends what waits for deletions after an error ended the pass: the
// nodes are incomplete.
func (p *pass) abandonDeletions() {
	for _, d := range p.queue.deferred {
		d.n.blocked = true
		p.done(d.n)
	}
	p.queue.deferred = nil
	for _, n := range p.deleting {
		n.blocked = true
		p.unstage(n)
		p.done(n)
	}
	p.deleting = nil
}

// unstage drops the deletions of n, and the files that were to replace directories.
func (p *pass) unstage(n *node) {
	for i := range n.deletions {
		p.dest.Abandon(&n.deletions[i])
	}
	n.deletions = nil
}

// guard says why nothing that waits may be deleted; "" if it may. Deletions that are
// released, or that have a reason of their own to be held, do not count.
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
	made := p.result.made
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
	case p.source.State == wire.Filling:
		return "the source is a copy that is not complete yet"
	}
	return why
}

// emptiesRoot reports whether nothing would be left in the copy's root: the source has
// nothing there, or nothing that a copy has.
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
	if int64(len(doomed)) < p.inRoot || p.result.noRoom != nil {
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

// refuse holds the deletions for which there is a reason, but not those that were
// released. With --no-delete only released deletions go on: the others were held
// before, and the reason is gone.
func (p *pass) refuse(waiting []*node, why string) {
	for _, n := range waiting {
		n.deletions = slices.DeleteFunc(n.deletions, func(d replica.Deletion) bool {
			if p.allows(n, d, why) {
				return false
			}
			p.dest.Abandon(&d)
			return true
		})
	}
}

// allows reports whether a deletion goes on. If there is a reason, why or one of its
// own, it is held.
func (p *pass) allows(n *node, d replica.Deletion, why string) bool {
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

// hold notes that a deletion is held.
func (p *pass) hold(e replica.Deletion) {
	p.result.held += e.Entries
	p.holding = append(p.holding, e)
}

// addDeletions adds deletions in n, which waits for them until the end of the pass.
func (p *pass) addDeletions(n *node, some []replica.Deletion) {
	if len(some) == 0 {
		return
	}
	for i := range some {
		p.result.below += some[i].Entries - 1
	}
	n.deletions = append(n.deletions, some...)
	if !n.waits {
		n.waits = true
		n.open++
		p.deleting = append(p.deleting, n)
	}
}

// recordDeletions records what became of the deletions of n.
func (p *pass) recordDeletions(n *node, r *work.DeleteResult) {
	if len(p.dest.Uncopied()) > 0 {
		for i := range n.deletions {
			p.goneDirs[n.deletions[i].Path] = n.deletions[i].Kind == mtree.Dir
		}
	}
	n.deletions = nil
	p.result.deleted += r.Deleted
	p.result.made += r.Replaced
	p.gate.Deleted(r.Deleted - r.Released)
	p.config.Stats.Deleted.Add(r.Deleted)
	if r.Deleted+r.Replaced > 0 {
		n.changed = true
		p.touch(n.Path)
	}
	for _, f := range r.Failed {
		p.fail(n, f.Path, f.Err)
	}
}
