package mirror

import (
	"context"
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// pass claims the copy for the source whose root this is, runs a pass and publishes how
// it ended. walk makes it a full walk.
func (m *mirror) pass(ctx context.Context, root source.Root, walk bool) (*pass.Result, error) {
	if !m.config.DryRun {
		if err := m.replica.StillAt(); errors.Is(err, state.ErrInTheWay) {
			return nil, exit.With(exit.Local, err, "")
		} else if err != nil {
			return nil, exit.With(exit.Local, err, "start mirror anew")
		}
	}
	if m.several != nil {
		m.lineage.Use(m.several.Name())
	}
	claim, err := m.lineage.Claim(ctx, &root)
	if err != nil {
		return nil, err
	}
	prunes := root.State.Prunes()
	if !prunes && m.reported != root.State {
		m.reported = root.State
		m.config.Log.Warn("stamps of this source do not prune: every pass is a full walk", "state", root.State, "server", root.Server,
			"remedy", remedyStamps(&root))
	}
	began := m.config.Now()
	if err := beginBackup(m.replica, began); err != nil {
		return nil, err
	}
	r, err := pass.Run(ctx, m.newEnv(&root), m.passOptions(&root, walk || claim.Walk || !prunes, claim.HoldAll))
	m.count(r, err)
	if m.config.DryRun {
		return r, err
	}
	if r.Complete {
		// guard (without !r.Stale): TestAStaleRootConfirmsNothing
		if !root.Repeated && !r.Stale { // guard (without !root.Repeated): TestARepeatedAnswerConfirmsNothing
			m.confirm(began)
		}
		err = errors.Join(err, replica.Local(m.lineage.Completed(&root, r.Held)))
	}
	return r, errors.Join(err, m.replica.UpdateUncopied(r.Uncopied, r.IsDeleted, r.Complete && r.Full), m.publish(r, &root, err))
}

// passOptions says how the next pass runs.
func (m *mirror) passOptions(root *source.Root, full bool, holdAll string) *pass.Options {
	c := &m.config
	o := &pass.Options{
		Full: full, Sums: c.Sums, HardLinks: c.HardLinks, HoldAll: holdAll,
		Jobs: c.Jobs, CommitFiles: c.commitFiles, NoFlush: c.Durability == None, Last: m.rules.last, Limit: m.rules.limit,
		Listed: func(l *mtree.Listing, elsewhere bool) error { return m.lineage.Listed(root, l, elsewhere) },
		Now:    c.Now, Out: c.Out, Counters: c.Stats.ofPass(), Memory: &m.memory, BeforeDelete: c.beforeDelete,
	}
	m.listen(o)
	o.Progress = m.reporter(root).report
	return o
}

// listen lets a pass tell what it does to --print and --exec, if anybody wants to know.
func (m *mirror) listen(o *pass.Options) {
	execs := m.hook.wanted()
	if execs {
		o.Changing = func() { m.hook.changing(m.replica) }
	}
	if m.printer != nil || execs {
		o.Tell = func(lines []actions.Line) {
			m.printer.Print(lines)
			if execs {
				m.hook.paths.Add(lines)
			}
		}
	}
}

// newEnv returns what the steps of a pass work with. The pass adds its own fields.
func (m *mirror) newEnv(root *source.Root) *work.Env {
	c := &m.config
	return &work.Env{
		Source: m.source, Overlap: m.lineage.Guard(), Root: root, Replica: m.replica, Filters: m.rules.filters, Verified: &m.verified, Wholes: &m.wholes, OldSums: &m.oldSums, Limiter: m.limiter, Log: c.Log,
		Several: m.several != nil || len(m.replica.Tree().Sources) > 0, StandsIn: m.several.StandsIn(root),
		DryRun: c.DryRun, NoDelete: c.NoDelete, NoLinks: c.NoLinks, Owner: c.Owner || m.rules.rights.Owns(), Rights: m.rules.rights, Limits: c.limits(), Sparse: c.Sparse, SyncEach: c.Durability == Each,
	}
}

// walkedAhead is by how much the end of a full walk may lie ahead of our clock. The clock may be
// set by some seconds. If it stood years ahead for an hour, no walk would be due for years.
const walkedAhead = time.Hour

// fullDue reports whether the safety net asks for a full walk: whether the last one was
// FullInterval ago, or lies in the future, because the clock was wrong when it ended.
func (m *mirror) fullDue() bool {
	walked := m.replica.Counters().Walked
	if m.config.FullInterval < 0 || walked == 0 {
		return false
	}
	now, _ := m.config.Now().Unix()
	// The interval varies by an eighth with the copy's inode, so that the copies of one
	// tree do not all walk at once. For one copy it is always the same.
	share := time.Duration(m.replica.Self.Node.Ino % 128)
	after := m.config.FullInterval * (896 + share*2) / 1024
	return now-walked > int64(after/time.Second) ||
		walked-now > int64(walkedAhead/time.Second) // guard: TestAWalkInTheFuture
}
