package pass

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// mayTakeOver reports whether a file to fetch may be in the copy under another name and
// is worth looking for.
func (p *pass) mayTakeOver(c *mtree.Change) bool {
	return c.Have == nil && c.Want.Size >= work.LeastTakenOver && !p.env.Root.OtherServer && p.env.Replica.Counters().Entries > 0
}

// takeOver looks for the deferred files under the names that are to be deleted, and
// fetches those that are not there.
func (p *pass) takeOver(ctx context.Context) error {
	deferred := p.queue.deferred
	p.queue.deferred = nil
	if len(deferred) == 0 {
		return nil
	}
	sizes := map[int64]bool{}
	for i := range deferred {
		for _, c := range deferred[i].changes {
			sizes[c.Want.Size] = true
		}
	}
	found := work.NewLeavingFiles(sizes)
	for _, n := range p.deleting {
		for i := range n.deletions {
			p.env.FindLeaving(n.deletions[i].Path, n.deletions[i].Kind, found)
		}
	}
	for i := range deferred {
		p.queue.steps = append(p.queue.steps, task{kind: takeOverTask, files: deferred[i : i+1], found: found})
	}
	return p.takeSteps(ctx)
}
