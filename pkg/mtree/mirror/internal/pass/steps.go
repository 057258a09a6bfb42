package pass

import (
	"context"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// takeSteps hands out tasks and records results until nothing is left to do, or until
// the pass is halted.
func (p *pass) takeSteps(ctx context.Context) error {
	for {
		for p.halted == nil && p.running < p.options.Jobs {
			t, ok := p.queue.take(p.running, p.largeRunning, p.options.Jobs)
			if !ok {
				break
			}
			p.handOut(ctx, t)
		}
		if p.running == 0 {
			if p.halted != nil {
				p.abandon()
			}
			return p.halted
		}
		record := p.await()
		p.running--
		record()
		if err := ctx.Err(); err != nil {
			p.halt(err)
		}
		p.commitInBetween(ctx)
		p.report(false)
	}
}

// handOut begins a step in a goroutine of its own. Once the result is recorded, it calls
// done for the nodes that wait for the step.
func (p *pass) handOut(ctx context.Context, t task) {
	p.running++
	if t.large {
		p.largeRunning++
	}
	step, records := p.stepOf(t), p.records
	go func() {
		record := step(ctx)
		records <- func() {
			if t.large {
				p.largeRunning--
			}
			record()
			p.queue.settle(&t)
			for i := range t.files {
				p.done(t.files[i].n)
			}
		}
	}()
}

// step does a piece of work and returns the function that records the result. It holds
// what it needs by value; only record touches the pass.
type step func(ctx context.Context) (record func())

// stepOf returns the step that does a task: one method of work.
func (p *pass) stepOf(t task) step {
	env, n := p.env, t.files[0].n
	target := n.Target
	switch t.kind {
	case visitTask:
		var given *source.Root
		if n.parent == nil {
			given = p.env.Root
		}
		return func(ctx context.Context) func() {
			v := env.Visit(ctx, target, given)
			return func() { p.recordVisit(n, v) }
		}
	case deleteTask:
		deletions := n.deletions
		return func(context.Context) func() {
			r := env.Delete(target, deletions)
			return func() { p.recordDeletions(n, r) }
		}
	case takeOverTask:
		changes, found := t.files[0].changes, t.found
		return func(ctx context.Context) func() {
			r, rest := env.TakeOver(ctx, target, changes, found)
			return func() {
				p.recordFetch(n, r)
				p.arrived(without(changes, rest))
				p.queue.addFiles(n, rest, 0)
			}
		}
	}
	if t.kind == linkTask {
		return p.linkStep(t)
	}
	groups := make([]fetch.Group, len(t.files))
	for i := range t.files {
		groups[i] = t.files[i].group()
	}
	if t.kind == sumTask {
		return func(ctx context.Context) func() {
			results := env.CompareSums(ctx, groups)
			return func() {
				for i := range results {
					p.recordSums(t.files[i].n, &results[i])
				}
			}
		}
	}
	return func(ctx context.Context) func() {
		results := env.Fetch(ctx, groups)
		return func() {
			for i := range results {
				p.recordFetch(t.files[i].n, &results[i])
				p.arrived(t.files[i].changes)
				p.addFollowing(t.files[i].n)
			}
		}
	}
}

// linkStep returns the step that links files. What cannot be linked is fetched.
func (p *pass) linkStep(t task) step {
	env, groups := p.env, byNode(t.files)
	targets := make([]work.Target, len(groups))
	for i := range groups {
		targets[i] = groups[i].n.Target
	}
	return func(ctx context.Context) func() {
		results, rest := make([]*fetch.Result, len(groups)), make([][]mtree.Change, len(groups))
		for i := range groups {
			results[i], rest[i] = env.Link(ctx, targets[i], groups[i].changes)
		}
		return func() {
			for i := range groups {
				p.recordFetch(groups[i].n, results[i])
				p.fetchUnlinked(groups[i].n, rest[i])
			}
		}
	}
}

// await waits for the end of a step and returns what records its result. Meanwhile it
// reports progress.
func (p *pass) await() func() {
	for {
		select {
		case record := <-p.records:
			return record
		case <-p.tick:
			p.report(false)
		}
	}
}

// abandon ends the tasks that a halted pass did not begin: their nodes are incomplete.
func (p *pass) abandon() {
	p.queue.steps, p.queue.last = append(p.queue.steps, p.queue.last...), nil
	p.abandonBroods()
	p.abandonFollowers()
	for {
		t, ok := p.queue.take(p.running, p.largeRunning, p.options.Jobs)
		if !ok {
			return
		}
		p.queue.settle(&t)
		for i := range t.files {
			n := t.files[i].n
			n.blocked, n.uncompared = true, true
			p.abandonFollowing(n)
			p.dropDeletions(n) // guard: TestWhatReplacesNothingIsDropped
			p.done(n)
		}
	}
}

// abandonBroods ends the visits that were not begun and leave no mark in the copy, so that
// no node is made for them. With doubts of what is below there is one.
func (p *pass) abandonBroods() {
	steps := p.queue.steps
	p.queue.steps = nil
	for _, t := range steps {
		b := t.brood
		if b == nil || b.doubts.Below() {
			p.queue.steps = append(p.queue.steps, t)
			continue
		}
		p.result.Incomplete += int64(len(b.left))
		p.queue.counts.visits -= len(b.left)
		b.up.blocked = true
		b.up.open -= len(b.left) - 1
		p.done(b.up)
	}
}
