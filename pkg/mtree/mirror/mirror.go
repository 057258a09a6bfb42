package mirror

import (
	"errors"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/several"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
	"tidemark/pkg/mtree/wire"
)

// mirror is an opened source with its copy. One goroutine uses it.
type mirror struct {
	config  Config
	rules   rules
	source  origin
	several *several.Sources // source, if there are several; else nil
	replica *replica.Replica
	lineage *lineage.Lineage
	limiter *rate.Limiter // of file contents; nil: no limit

	verified work.VerifiedFiles
	wholes   work.Wholes
	oldSums  fetch.OldSums
	memory   pass.Memory
	reported wire.State // the source's state when full walks were last logged
	hook     hook
	printer  *actions.Printer // of --print; nil: none
}

// open opens source and copy, and takes the lock unless it is a dry run.
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
	m := &mirror{config: c, rules: rules}
	if c.BWLimit > 0 {
		m.limiter = rate.NewLimiter(rate.Limit(c.BWLimit), int(max(c.BWLimit/10, 64<<10)))
	}
	if m.source, err = openSource(&c); err != nil {
		return nil, err
	}
	var names []string
	if m.several, _ = m.source.(*several.Sources); m.several != nil {
		names = m.several.Names()
	}
	m.lineage = lineage.New(lineage.Options{
		Upstream: state.SourceName(c.Source), Sources: names, Selection: c.selection().Rules(), Adopt: c.Adopt, Sums: c.Sums, Repair: c.repair, Log: c.Log,
	}, m.source)
	if err := m.openReplica(nil); err != nil {
		m.source.Close()
		return nil, err
	}
	m.joinSources()
	c.Stats.recall(m.replica, c.Now().Time())
	m.hook.config = &m.config
	m.hook.recall(m.replica)
	return m, nil
}

// joinSources lets the lineage judge several sources, and the copy tell how they stand.
func (m *mirror) joinSources() {
	s := m.several
	if s == nil {
		_ = m.replica.WriteSources(nil) // there may have been several: only --status reads it
		return
	}
	s.Judge = func(root *source.Root, number int, fresh bool) error {
		if fresh {
			return m.lineage.MayUse(root, number)
		}
		return m.lineage.MayStay(root)
	}
	s.Report = func(list []replica.SourceState) {
		if err := m.replica.WriteSources(list); err != nil {
			m.config.Log.Warn("cannot write how the sources stand: --status tells what was before", "error", err, "remedy", replica.MakeRoom)
		}
	}
}

// openReplica opens the copy. before is what it was until it lost its .tidemark, or nil.
func (m *mirror) openReplica(before *replica.Replica) error {
	o := m.config.replicaOptions()
	o.Before = before
	r, err := replica.Open(o)
	if err != nil {
		return err
	}
	r.Filters = m.rules.filters
	if err := m.lineage.SetReplica(r); err != nil {
		r.Close()
		return err
	}
	if err := errors.Join(m.config.openBackup(r), m.config.noteLimit(r)); err != nil {
		r.Close()
		return err
	}
	m.replica = r
	return nil
}

// replicaOptions says which copy is opened, and how.
func (c *Config) replicaOptions() *replica.Options {
	return &replica.Options{Path: c.Dest, StateDir: c.StateDir, ReadOnly: c.DryRun, Adopt: c.Adopt, HardLinks: c.HardLinks, Log: c.Log, Now: c.Now, Meanwhile: c.meanwhile}
}

// close closes source and copy.
func (m *mirror) close() {
	m.source.Close()
	m.replica.Close()
}
