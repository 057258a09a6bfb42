package audit

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/sys"
)

// Run scans the tree and returns when that is done or ctx ended. It sends its findings, up
// to FindingsAtOnce at a time, and waits until they are taken.
func Run(ctx context.Context, t Tree, scope Scope, findings chan<- []Finding) Report {
	s := &scan{Tree: t, Scope: scope, ctx: ctx, findings: findings, unread: t.Health.Exceptions.Unread()}
	s.ready.L = &s.mu
	began := time.Now()
	s.stack = []*visit{{greatest: mtree.MinStamp}}
	workers, work := min(sys.Processors(), 8), s.work
	if scope.Slow {
		workers, work = 1, func() { machine.AfterOthers(s.work) }
	}
	var done sync.WaitGroup
	for range workers {
		done.Go(work)
	}
	done.Wait()
	s.send(true)
	r := Report{
		Err: s.failed, Elapsed: time.Since(began), Waited: s.waited,
		Directories: s.directories.Load(), Files: s.files.Load(), Bytes: s.bytes.Load(), Others: s.others.Load(),
		Found: s.found.Load(), Mounted: s.mounted.Load(),
		Mounts: slices.Sorted(maps.Keys(s.mounts)),
	}
	if ctx.Err() != nil {
		r.Err = ctx.Err()
	}
	return r
}

// work takes directories from the stack until none is left and nobody can push
// another. The stack is last in, first out: few directories stay open.
func (s *scan) work() {
	for {
		s.mu.Lock()
		for len(s.stack) == 0 && s.busy > 0 {
			s.ready.Wait()
		}
		if len(s.stack) == 0 || s.ctx.Err() != nil {
			s.mu.Unlock()
			return
		}
		v := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		s.busy++
		s.mu.Unlock()

		s.visit(v)

		s.mu.Lock()
		s.busy--
		if s.busy == 0 {
			s.ready.Broadcast() // those who wait end, too
		}
		s.mu.Unlock()
	}
}
