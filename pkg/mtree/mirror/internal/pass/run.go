package pass

import (
	"context"
	"time"

	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Run runs a pass, which begins with env.Root, the root of the source as it was just
// listed. The error is what ended the pass early; paths that failed are in the result.
// env is not changed.
func Run(ctx context.Context, env *work.Env, o *Options) (*Result, error) {
	p := newPass(env, o)
	p.recallHeld()
	err := p.run(ctx)
	o.Memory.fullDisk.note(&p.result)
	return &p.result, err
}

// newPass returns a pass that has not begun.
func newPass(env *work.Env, o *Options) *pass {
	now := time.Now()
	p := &pass{
		options: o, full: o.Full, start: now, committed: now, reported: now,
		guard:    guard{gate: gate.New(env.Replica, o.Limit), unseen: map[string]bool{}},
		uncopied: replica.Uncopied{}, goneDirs: map[string]bool{},
		records: make(chan func(), o.Jobs),
	}
	own := *env
	own.Held, own.BeforeChange, own.Arriving = &p.guard.was, p.beforeChange(), &p.arriving
	p.env = &own
	return p
}

// beforeChange returns what is called before each change of the copy.
func (p *pass) beforeChange() func() {
	changing, begin := p.options.Changing, p.guard.gate.Begin
	if changing == nil {
		return begin
	}
	return func() { changing(); begin() }
}

// run makes the copy equal to the source, as far as that is possible now. Its error is
// what ended it early; the result has the paths that failed.
func (p *pass) run(ctx context.Context) error {
	if p.options.Progress != nil {
		ticker := time.NewTicker(reportEvery)
		defer ticker.Stop()
		p.tick = ticker.C
	}
	root := p.begin()
	err := p.takeSteps(ctx)
	if err == nil {
		err = p.takeOver(ctx)
	}
	if err == nil {
		p.queue.steps, p.queue.last = p.queue.last, nil
		err = p.takeSteps(ctx)
	}
	if err == nil && p.options.BeforeDelete != nil {
		p.options.BeforeDelete()
	}
	if err == nil {
		err = p.delete(ctx)
	}
	p.abandonDeletions()
	if !p.env.DryRun {
		if commitErr := p.lastCommit(ctx); err == nil {
			err = commitErr
		}
		p.leaveIncomplete(ctx)
		// What was announced and could not be stamped counts no more: the next pass may announce nothing.
		p.env.Replica.Announce(p.floor, nil) // guard: TestAWalkAfterAStampThatFailed
	}
	p.sumUp(root, err)
	p.report(true)
	return err
}

// begin adds the visit of the root, from which all other steps follow.
func (p *pass) begin() *node {
	root := &node{Target: work.Target{Open: p.options.Memory.unfinished.has("")}}
	if p.full {
		root.Doubts |= replica.DoubtBelow
		if p.env.DryRun {
			root.Doubts |= replica.DoubtClock // perhaps: nothing was written down
		}
	}
	if p.env.DryRun && p.options.Sums {
		root.Doubts |= replica.DoubtBytes // unless it is a dry run, the root's record says so
	}
	const ctimes = replica.DoubtBytes | replica.DoubtClock | replica.DoubtRecent
	// guard (without p.env.Replica.IsDoubted(ctimes)): TestLinksOfASourceThatWasRolledBack
	if index := p.env.Replica.Links; index != nil && (p.full || p.env.Replica.IsDoubted(ctimes)) {
		index.Begin()
	}
	p.queue.addVisit(root)
	p.root = root
	return root
}

// sumUp completes the result.
func (p *pass) sumUp(root *node, err error) {
	r := &p.result
	r.Complete, r.Full = err == nil && !root.blocked, p.full
	r.Changed, r.Gate = root.changed, p.guard.gate
	r.Uncopied, r.IsDeleted = p.uncopied, p.isDeleted
	r.Root, r.Stale = root.Record.Stamp, root.Past
	p.options.Memory.unfinished.note(r.Complete, p.incomplete)
	r.Took = time.Since(p.start)
	for _, n := range p.incomplete {
		if !n.unreadable {
			r.Retry = append(r.Retry, n.Path)
		}
	}
}
