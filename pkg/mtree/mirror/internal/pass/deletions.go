package pass

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// addDeletions adds deletions in n, which waits for them until the end of the pass.
func (p *pass) addDeletions(n *node, some []replica.Deletion) {
	if len(some) == 0 {
		return
	}
	for i := range some {
		p.result.Seen += some[i].Entries - 1
	}
	n.deletions = append(n.deletions, some...)
	n.news.addDeletions(some)
	if !n.waits {
		n.waits = true
		n.open++
		p.deleting = append(p.deleting, n)
	}
}

// recordDeletions records what became of the deletions of n.
func (p *pass) recordDeletions(n *node, r *work.DeleteResult) {
	if len(p.env.Replica.Uncopied()) > 0 {
		for i := range n.deletions {
			p.goneDirs[n.deletions[i].Path] = n.deletions[i].Kind == mtree.Dir
		}
	}
	// guard: TestAReleaseThatCannotBeCarriedOutYet
	p.holdReleased(n.deletions, func(d *replica.Deletion) bool {
		return slices.ContainsFunc(r.Failed, func(f fetch.Failure) bool { return f.Path == d.Path || f.Path == n.Path })
	})
	p.tellDeletions(n.deletions, r)
	n.deletions = nil
	p.result.Deleted += r.Deleted
	p.result.Made += r.Replaced
	p.guard.gate.Deleted(r.Deleted - r.Released)
	p.options.Counters.Deleted.Add(r.Deleted)
	if r.Deleted+r.Replaced > 0 {
		n.changed = true
		p.touch(n.Path)
	}
	for _, f := range r.Failed {
		p.fail(n, f.Path, f.Err)
	}
}

// dropDeletions drops the deletions of n, and the files that were to replace directories.
func (p *pass) dropDeletions(n *node) {
	for i := range n.deletions {
		p.env.Replica.Abandon(&n.deletions[i])
	}
}

// holdReleased holds those of some deletions that are left and that somebody released: they were not
// carried out in this pass, and whoever released them is told so.
func (p *pass) holdReleased(some []replica.Deletion, left func(*replica.Deletion) bool) {
	for i := range some {
		d := some[i]
		if was := p.guard.was.At(d.Path); was != nil && d.Released && left(&d) {
			d.Why = was.Why
			p.hold(d)
		}
	}
}
