package mirror

import (
	"context"
	"errors"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
	"tidemark/pkg/mtree/wire"
)

// mirror is a source and a copy of it, opened. One goroutine uses it; a pass
// lends it to its steps, which only read it.
type mirror struct {
	config      Config
	rules       rules
	filters     *glob.List
	limiter     *rate.Limiter // of file contents; nil: none
	source      origin
	replica     *replica.Replica
	verified    work.VerifiedFiles
	warnedState wire.State // for which full walks were announced
	lineage     *lineage.Lineage
	memory      pass.Memory
	hookDue     bool // something changed since --exec ran

}

// open opens source and copy and takes the lock.
func open(c Config) (*mirror, error) {
	c = c.withDefaults()
	rules, err := c.compile()
	if err != nil {
		return nil, err
	}
	if c.Owner && !c.DryRun && !machine.MayChown() {
		c.Log.Warn("--owner has no effect: this user may not give files away", "remedy", "run mirror as root, or with CAP_CHOWN")
		c.Owner = false
	}
	m := &mirror{config: c, rules: rules, filters: rules.filters}
	if c.BWLimit > 0 {
		m.limiter = rate.NewLimiter(rate.Limit(c.BWLimit), int(max(c.BWLimit/10, 64<<10)))
	}
	if m.source, err = openSource(&c); err != nil {
		return nil, err
	}
	m.lineage = lineage.New(lineage.Options{
		Upstream: state.SourceName(c.Source), Selection: c.selection(), Adopt: c.Adopt, Sums: c.Sums, Log: c.Log,
	}, m.source)
	if err := m.openReplica(); err != nil {
		m.source.Close()
		return nil, err
	}
	if held, err := m.replica.Held(); err == nil {
		c.Stats.Held.Store(held.Total())
	}
	return m, nil
}

// openReplica opens the copy.
func (m *mirror) openReplica() error {
	r, err := replica.Open(m.config.replicaOptions())
	if err != nil {
		return err
	}
	r.Filters = m.filters
	if err := m.lineage.SetReplica(r); err != nil {
		r.Close()
		return err
	}
	m.replica = r
	return nil
}

// replica says which copy is opened, and how.
func (c *Config) replicaOptions() *replica.Options {
	return &replica.Options{Path: c.Dest, StateDir: c.StateDir, ReadOnly: c.DryRun, Adopt: c.Adopt, Log: c.Log, Now: c.Now, Meanwhile: c.meanwhile}
}

// close leaves source and copy.
func (m *mirror) close() {
	m.source.Close()
	m.replica.Close()
}

// pass claims the copy for the source's root as a shows it and runs a pass.
func (m *mirror) pass(ctx context.Context, a source.Root, walk bool) (*pass.Result, error) {
	if !m.config.DryRun {
		if err := m.replica.StillAt(); errors.Is(err, state.ErrInTheWay) {
			return nil, exit.With(exit.Local, err, "")
		} else if err != nil {
			return nil, exit.With(exit.Local, err, "start mirror anew")
		}
	}
	claim, err := m.lineage.Claim(ctx, &a)
	if err != nil {
		return nil, err
	}
	prunes := a.State.Prunes()
	if !prunes && m.warnedState != a.State {
		m.warnedState = a.State
		m.config.Log.Warn("stamps of this source do not prune: every pass is a full walk", "state", a.State, "server", a.Server,
			"remedy", remedyStamps(&a))
	}
	began := m.config.Now()
	r, err := pass.Run(ctx, m.newEnv(&a), m.passOptions(&a, walk || claim.Walk || !prunes, claim.HoldAll))
	m.count(r, err)
	if m.config.DryRun {
		return r, err
	}
	if r.Complete {
		m.confirm(began)
		err = errors.Join(err, replica.Local(m.lineage.Completed(&a, r.Held)))
	}
	return r, errors.Join(err, m.replica.UpdateUncopied(r.Uncopied, r.IsDeleted, r.Complete && r.Full), m.publish(r, &a, err))
}

// passOptions says how the next pass runs.
func (m *mirror) passOptions(a *source.Root, full bool, holdAll string) *pass.Options {
	c := &m.config
	o := &pass.Options{
		Full: full, Sums: c.Sums, HoldAll: holdAll,
		Jobs: c.Jobs, CommitFiles: c.commitFiles, NoFlush: c.Durability == None, Last: m.rules.last, Limit: m.rules.limit,
		Listed: func(l *mtree.Listing) error { return m.lineage.Listed(a, l) },
		Now:    c.Now, Out: c.Out, Counters: c.Stats.ofPass(), Memory: &m.memory, BeforeDelete: c.beforeDelete,
	}
	if c.Progress != nil {
		o.Progress = func(p pass.Progress) { c.Progress(Progress(p)) }
	}
	return o
}

// newEnv returns what steps work with. A pass adds what belongs to it.
func (m *mirror) newEnv(root *source.Root) *work.Env {
	c := &m.config
	return &work.Env{
		Source: m.source, Overlap: m.lineage.Guard(), Root: root, Replica: m.replica, Filters: m.filters, Verified: &m.verified, Limiter: m.limiter, Log: c.Log,
		DryRun: c.DryRun, NoDelete: c.NoDelete, NoLinks: c.NoLinks, Owner: c.Owner, SyncEach: c.Durability == Each,
	}
}
