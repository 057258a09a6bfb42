package pass

import (
	"context"
	"slices"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// delete deletes what the source no longer has, after everything was fetched, if the
// guards allow it; what they refuse is held. The deepest directories come first. If
// something below a directory failed, nothing in the directory is deleted, for a
// missing entry may have moved down there.
func (p *pass) delete(ctx context.Context) error {
	nodes := p.deleting
	slices.SortStableFunc(nodes, func(a, b *node) int { return b.depth() - a.depth() })
	p.markReleased(nodes)
	p.carry(nodes) // guard: TestAHoldOutlivesADirectoryInTrouble
	p.refuse(nodes, p.reasonToHold(ctx, nodes))
	for i, n := range nodes {
		p.carryOut(n)
		p.deleting = nodes[i+1:]
		if i+1 < len(nodes) && nodes[i+1].depth() == n.depth() {
			continue // deletions of one depth are carried out beside each other
		}
		if err := p.takeSteps(ctx); err != nil {
			return err
		}
	}
	now := replica.HeldList{Entries: p.guard.holding}
	now.Sort()
	p.result.HeldWhy = now.Why()
	if p.env.DryRun {
		return nil
	}
	err := p.storeHeld()
	if disk.IsFull(err) {
		p.noteFull(err)
		p.env.Log.Warn("what is held could not be written down", "error", err, "remedy", replica.MakeRoom)
		return nil
	}
	return err
}

// carryOut begins the deletions of n, unless something in or below it failed.
func (p *pass) carryOut(n *node) {
	switch {
	case len(n.deletions) == 0:
	case n.failed: // guard: TestSimulatedGuards/moved_down
		n.blocked = true
		p.holdReleased(n.deletions, func(*replica.Deletion) bool { return true }) // guard: TestAReleaseThatCannotBeCarriedOutYet
		p.dropDeletions(n)
	case p.env.DryRun:
		p.result.Deleted += replica.CountDeletions(n.deletions)
	default:
		n.open++
		p.queue.steps = append(p.queue.steps, task{kind: deleteTask, files: []nodeFiles{{n: n}}})
	}
	p.done(n)
}

// abandonDeletions is for a pass that an error ended: nodes that wait for deletions
// become incomplete.
func (p *pass) abandonDeletions() {
	p.abandonFollowers()
	for _, d := range p.queue.deferred {
		d.n.blocked = true
		p.done(d.n)
	}
	for _, n := range p.deleting {
		n.blocked = true
		p.dropDeletions(n)
		p.done(n)
	}
}
