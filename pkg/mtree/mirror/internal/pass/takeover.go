package pass

import (
	"context"

	"tidemark/pkg/mtree/mirror/internal/work"
)

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
