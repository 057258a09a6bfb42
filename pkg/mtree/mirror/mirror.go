package mirror

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"

	"tidemark/pkg/mtree/mirror/internal/work"
)

// mirror is a source and a copy of it, opened. One goroutine uses it; a pass
// lends it to its steps, which only read it.
type mirror struct {
	config      Config
	rules       rules
	filters     *glob.List
	limiter     *rate.Limiter // of file contents; nil: none
	source      origin
	dest        *replica.Replica
	verified    work.VerifiedFiles
	warned      warned
	warnedState wire.State // for which full walks were announced
	turns       turns
	adopted     bool // --adopt was carried out, or found done
	summed      bool // Config.Sums was
	outside     bool // a source without its id was not found in the copy
	fullDisk    fullDisk
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
	if m.dest, err = m.openReplica(); err != nil {
		m.source.Close()
		return nil, err
	}
	if t := m.dest.Tree(); t.Adopted != "" && !c.Adopt && !c.DryRun {
		t.Adopted = "" // a start without --adopt: the next one with it counts again
		if err := m.dest.SetTree(t); err != nil {
			m.close()
			return nil, exit.With(exit.Local, err, "")
		}
	}
	if held, err := m.dest.Held(); err == nil {
		c.Stats.Held.Store(held.Total())
	}
	return m, nil
}

// openReplica opens the copy.
func (m *mirror) openReplica() (*replica.Replica, error) {
	r, err := replica.Open(m.config.replica())
	if err == nil {
		r.Filters = m.filters
	}
	return r, err
}

// replica says which copy is opened, and how.
func (c *Config) replica() *replica.Options {
	return &replica.Options{Path: c.Dest, StateDir: c.StateDir, ReadOnly: c.DryRun, Adopt: c.Adopt, Log: c.Log, Now: c.Now, Meanwhile: c.meanwhile}
}

// close leaves source and copy.
func (m *mirror) close() {
	m.source.Close()
	m.dest.Close()
}

// claim makes the copy one of the tree that a is the root of, or refuses. It
// returns why nothing may be deleted, if so, and whether a full walk is due.
func (m *mirror) claim(ctx context.Context, a *source.Root) (holdAll string, walk bool, err error) {
	d, c := m.dest, &m.config
	t := d.Tree()
	if holdAll, err = m.mayFollow(a); err != nil {
		return "", false, err
	}
	if holdAll == lostID {
		if !m.outside {
			if err := m.overlap().CheckRoot(ctx, a); err != nil {
				return "", false, err
			}
			m.outside = true
		}
		return holdAll, false, m.heed(&a.Listing, a)
	}
	more := m.rolledBack(a)
	if c.Sums && !m.summed {
		more |= replica.DoubtBytes
	}
	next := m.next(a, more)
	due := more != 0 || newIn(t, &next) != "" || !t.BoundTo(d.Self) || d.Status().State == ""
	if due {
		if err := m.overlap().CheckRoot(ctx, a); err != nil {
			return "", false, err
		}
	}
	if c.DryRun {
		return holdAll, due, nil
	}
	if m.turns.turn(t.Fingerprint, next.Fingerprint) {
		c.Log.Warn("serves of different options answer by turns: each change is a full walk",
			"remedy", "start all serves behind that address with the same options, user and groups")
	}
	if due {
		err = m.retake(next, more)
	} else {
		err = d.SetTree(next)
	}
	if err == nil {
		m.adopted, m.summed = true, true
		err = m.heed(&a.Listing, a)
	}
	return holdAll, false, exit.With(exit.Local, err, "")
}

// Options that stand among the filters in the tree file.
const (
	selectNoDelete = "no-delete"
	selectNoLinks  = "no-links"
	selectOwner    = "owner"
)

// selection is what decides which entries a complete copy has: with another one
// what was complete is not.
func (c *Config) selection() []string {
	all := slices.Clone(c.Filters)
	if c.NoDelete {
		all = append(all, selectNoDelete)
	}
	if c.NoLinks {
		all = append(all, selectNoLinks)
	}
	if c.Owner {
		all = append(all, selectOwner)
	}
	return all
}

// restore is the inverse of selection.
func (c *Config) restore(selection []string) {
	c.Filters, c.NoDelete, c.NoLinks, c.Owner = nil, false, false, false
	for _, rule := range selection {
		switch rule {
		case selectNoDelete:
			c.NoDelete = true
		case selectNoLinks:
			c.NoLinks = true
		case selectOwner:
			c.Owner = true
		default:
			c.Filters = append(c.Filters, rule)
		}
	}
}

// newIn says what makes a full walk due, "" if nothing that the tree file tells.
func newIn(was state.Tree, is *state.Tree) string {
	switch {
	case was.ID != is.ID || was.NoID != is.NoID:
		return "this copy is new to its source, or the other way round"
	case state.SourceName(was.Upstream) != is.Upstream:
		return "another SOURCE"
	case was.Path != is.Path && was.Path != "":
		return "another directory of the tree"
	case was.Older != is.Older:
		return "the source is of another lineage of the tree"
	case was.Epoch != is.Epoch:
		return "the source is in another epoch: it cannot prove what changed"
	case !slices.Equal(was.Filters, is.Filters):
		return "other filters, --no-delete, --no-links or --owner"
	case was.Fingerprint != is.Fingerprint:
		return "the source's serve has other options or rights, or so has a source further up"
	}
	return ""
}

// retake writes who the copy is a copy of. Unless it is empty, nothing that its
// records say is trusted from here on: one full walk is due, also after a kill.
func (m *mirror) retake(next state.Tree, more replica.Doubts) error {
	d := m.dest
	if t := d.Tree(); !t.BoundTo(d.Self) {
		more |= replica.DoubtHidden // what records there are came with files from elsewhere
	}
	empty, err := d.IsEmpty()
	if err != nil {
		return err
	}
	if !empty {
		m.config.Log.Info("everything is compared once", "why", m.reason(&next, more))
		if m.adopts() && more&replica.DoubtBytes == 0 {
			m.config.Log.Info("adopted: files of equal size and time are taken for equal",
				"remedy", "mirror --verify DEST compares their bytes afterwards, --adopt --verify while adopting")
		}
		if err := d.Distrust(more); err != nil {
			return err
		}
	}
	if err := d.ResetStatus(d.Tree().ID != next.ID); err != nil {
		return err
	}
	return d.SetTree(next)
}

// reason names in the log why everything is compared.
func (m *mirror) reason(next *state.Tree, more replica.Doubts) string {
	switch why := newIn(m.dest.Tree(), next); {
	case m.config.Sums && !m.summed:
		return "--adopt --verify: files of equal size and time are compared by sums"
	case more&replica.DoubtBytes != 0:
		return "the source was rolled back, or lost its runs: files of equal size and time are compared by sums"
	case why != "":
		return why
	}
	return "what is remembered of this copy was lost"
}

// pass claims the copy for the source's root as a shows it and runs a pass.
func (m *mirror) pass(ctx context.Context, a source.Root, walk bool) (*result, error) {
	if !m.config.DryRun {
		if err := m.dest.StillAt(); errors.Is(err, state.ErrInTheWay) {
			return nil, exit.With(exit.Local, err, "")
		} else if err != nil {
			return nil, exit.With(exit.Local, err, "start mirror anew")
		}
	}
	holdAll, due, err := m.claim(ctx, &a)
	if err != nil {
		return nil, err
	}
	prunes := a.State.Prunes()
	if !prunes && m.warnedState != a.State {
		m.warnedState = a.State
		m.config.Log.Warn("stamps of this source do not prune: every pass is a full walk", "state", a.State, "server", a.Server,
			"remedy", remedyStamps(&a))
	}
	p := m.newPass(&a, walk || due || !prunes)
	p.holdAll = holdAll
	p.recallHeld()
	began := m.config.Now()
	err = p.run(ctx)
	r := &p.result
	m.count(r, err)
	m.fullDisk.note(r)
	if m.config.DryRun {
		return r, err
	}
	if r.complete {
		m.confirm(began)
		err = errors.Join(err, replica.Local(m.followed(r, &a)))
	}
	return r, errors.Join(err, p.storeUncopied(), m.publish(r, &a, err))
}

// overlap returns the guard against copying the copy into itself.
func (m *mirror) overlap() *overlap.Guard {
	return &overlap.Guard{Source: m.source, Replica: m.dest, DryRun: m.config.DryRun}
}

// newWork returns what the steps of a pass work with.
func (m *mirror) newWork(root *source.Root) *work.Env {
	c := &m.config
	return &work.Env{
		Source: m.source, Overlap: m.overlap(), Root: root, Replica: m.dest, Filters: m.filters, Held: &replica.HeldList{}, Verified: &m.verified, Limiter: m.limiter, Log: c.Log,
		BeforeChange: func() {},
		DryRun:       c.DryRun, NoDelete: c.NoDelete, NoLinks: c.NoLinks, Owner: c.Owner, SyncEach: c.Durability == Each,
	}
}

// fullDue reports whether the safety net asks for a full walk.
func (m *mirror) fullDue() bool {
	walked := m.dest.Counters().Walked
	if m.config.FullInterval < 0 || walked == 0 {
		return false
	}
	now, _ := m.config.Now().Unix()
	// Jitter by the tree's id: copies of one tree do not all walk at once, and
	// this one's turn does not move with every look.
	share := time.Duration(m.dest.Self.Node.Ino % 128)
	after := m.config.FullInterval * (896 + share*2) / 1024
	return now-walked > int64(after/time.Second)
}
