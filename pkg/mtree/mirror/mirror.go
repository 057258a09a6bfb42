package mirror

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
	"tidemark/pkg/mtree/wire"
)

// mirror is a source and a copy of it, opened. One goroutine uses it; a pass
// lends it to its steps, which only read it.
type mirror struct {
	config  Config
	rules   rules
	filters *glob.List
	limiter *rate.Limiter // of file contents; nil: none
	source  origin
	dest    *dest
	seen    seen
	warned  wire.State // for which full walks were announced
	turns   turns
	adopted bool // --adopt was carried out, or found done
	summed  bool // Config.Sums was
	outside bool // a source without its id was not found in the copy
	crowded crowded
	hookDue bool // something changed since --exec ran

	confirmed *mtree.Stamp // by the clock here: until when the copy is known to be what the source published
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
	if m.dest, err = openDest(&c); err != nil {
		m.source.Close()
		return nil, err
	}
	m.dest.filters = m.filters
	if t := m.dest.tree; t.Adopted != "" && !c.Adopt && !c.DryRun {
		t.Adopted = "" // a start without --adopt: the next one with it counts again
		if err := m.rename(t); err != nil {
			m.close()
			return nil, exit.With(exit.Local, err, "")
		}
	}
	if m.dest.marker != nil {
		if held, err := readHeld(m.dest.marker, heldName); err == nil {
			c.Stats.Held.Store(held.total())
		}
	}
	return m, nil
}

func (m *mirror) close() {
	m.source.Close()
	m.dest.close()
}

// claim makes the copy one of the tree that a is the root of, or refuses. It
// returns why nothing may be deleted, if so, and whether a full walk is due.
func (m *mirror) claim(ctx context.Context, a *source.Root) (holdAll string, walk bool, err error) {
	d, c := m.dest, &m.config
	t := d.tree
	if holdAll, err = m.mayFollow(a); err != nil {
		return "", false, err
	}
	if holdAll == lostID {
		if !m.outside {
			if err := m.contains(ctx, a); err != nil {
				return "", false, err
			}
			m.outside = true
		}
		return holdAll, false, m.heed(&a.Listing, a)
	}
	more := m.rolledBack(a)
	if c.Sums && !m.summed {
		more |= doubtBytes
	}
	next := m.next(a, more)
	due := more != 0 || newIn(&t, &next) != "" || !t.BoundTo(d.self) || d.status.State == ""
	if due {
		if err := m.contains(ctx, a); err != nil {
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
		err = m.rename(next)
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
func newIn(was, is *state.Tree) string {
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
func (m *mirror) retake(next state.Tree, more doubts) error {
	d := m.dest
	if !d.tree.BoundTo(d.self) {
		more |= doubtHidden // what records there are came with files from elsewhere
	}
	empty, err := d.empty()
	if err != nil {
		return err
	}
	if !empty {
		m.config.Log.Info("everything is compared once", "why", m.reason(&next, more))
		if m.adopts() && more&doubtBytes == 0 {
			m.config.Log.Info("adopted: files of equal size and time are taken for equal",
				"remedy", "mirror --verify DEST compares their bytes afterwards, --adopt --verify while adopting")
		}
		if err := d.begin(d.root, "", records.Record{}, doubtBelow|more); err != nil {
			return err
		}
		if err := d.root.Sync(); err != nil { // before anything says that it was noted
			return err
		}
	}
	switch {
	case d.tree.ID != next.ID:
		d.status = state.Status{State: wire.Filling}
		if err := d.marker.Remove(heldName); err != nil {
			return err
		}
	case d.status.State == "":
		d.status = state.Status{State: wire.Filling, Deletions: d.status.Deletions}
	}
	if err := d.file.Write(d.status); err != nil {
		return err
	}
	return m.rename(next)
}

// reason names in the log why everything is compared.
func (m *mirror) reason(next *state.Tree, more doubts) string {
	switch why := newIn(&m.dest.tree, next); {
	case m.config.Sums && !m.summed:
		return "--adopt --verify: files of equal size and time are compared by sums"
	case more&doubtBytes != 0:
		return "the source was rolled back, or lost its runs: files of equal size and time are compared by sums"
	case why != "":
		return why
	}
	return "what is remembered of this copy was lost"
}

// rename writes who the copy is a copy of, if that is news.
func (m *mirror) rename(next state.Tree) error {
	if next.Same(m.dest.tree) {
		return nil
	}
	if err := m.dest.marker.WriteTree(next); err != nil {
		return err
	}
	m.dest.tree = next
	return nil
}

// pass claims the copy for the source's root as a shows it and runs a pass.
func (m *mirror) pass(ctx context.Context, a source.Root, walk bool) (*result, error) {
	if !m.config.DryRun {
		if err := m.dest.standing(); errors.Is(err, state.ErrInTheWay) {
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
	if !prunes && m.warned != a.State {
		m.warned = a.State
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
	m.crowded.note(r)
	if m.config.DryRun {
		return r, err
	}
	if r.complete {
		m.confirm(began)
		err = errors.Join(err, local(m.followed(r, &a)))
	}
	return r, errors.Join(err, p.storeUncopied(), m.publish(r, &a, err))
}

// newWork returns what the steps of a pass work with.
func (m *mirror) newWork(root *source.Root) *work {
	c := &m.config
	return &work{
		source: m.source, unlisted: m.source, root: root, dest: m.dest, filters: m.filters, held: &heldList{}, seen: &m.seen, limiter: m.limiter, log: c.Log,
		change: &firstChange{before: func() {}},
		dryRun: c.DryRun, noDelete: c.NoDelete, noLinks: c.NoLinks, owner: c.Owner, syncEach: c.Durability == Each,
	}
}

func (m *mirror) count(r *result, err error) {
	s := m.config.Stats
	s.Passes.Add(1)
	s.Incomplete.Store(r.incomplete)
	now, _ := m.config.Now().Unix()
	s.LastPass.Store(now)
	if err != nil {
		s.Errors.Add(1)
	}
	if r.complete {
		root, _ := r.root.Unix()
		s.RootStamp.Store(root)
		if r.full {
			s.Walks.Add(1)
		}
	}
}

// fullDue reports whether the safety net asks for a full walk.
func (m *mirror) fullDue() bool {
	walked := m.dest.status.Counters[countWalked]
	if m.config.FullInterval < 0 || walked == 0 {
		return false
	}
	now, _ := m.config.Now().Unix()
	// Jitter by the tree's id: copies of one tree do not all walk at once, and
	// this one's turn does not move with every look.
	share := time.Duration(m.dest.self.Node.Ino % 128)
	after := m.config.FullInterval * (896 + share*2) / 1024
	return now-walked > int64(after/time.Second)
}

// Counters in status.json.
const (
	countEntries  = "entries"    // in the copy, as of the last full walk and what was made and deleted since
	countWalked   = "walked"     // end of the last full walk, Unix seconds
	countHeld     = "held"       // deletions held
	countFailed   = "failed"     // paths that failed in the last pass
	countBehind   = "incomplete" // directories the last pass left incomplete
	countLinkless = "linkless"   // 1: the copy's file system holds no symlinks
	countEnded    = "ended"      // end of the last pass that changed something, Unix seconds
)

// countAll counts the entries of the copy, as far as they can be read. Cost: one
// openat, getdents64 and statx per directory and entry.
func (d *dest) countAll() (total int64) {
	if d.root == nil {
		return 0
	}
	names, _ := d.root.Names()
	for _, name := range names {
		n, _ := d.count(d.root, name, name)
		total += n.Entries
	}
	return total
}

// entries is how many entries the copy has; 0 if that is not known.
func (d *dest) entries() int64 { return d.status.Counters[countEntries] }

// publish writes status.json, if there is news.
func (m *mirror) publish(r *result, a *source.Root, passErr error) error {
	d := m.dest
	next := d.status
	next.Deletions = r.deletions
	counters := map[string]int64{
		countEntries: r.entries, countWalked: d.status.Counters[countWalked],
		countHeld: r.held, countFailed: r.failed, countBehind: r.incomplete, countEnded: d.status.Counters[countEnded],
	}
	now := m.config.Now()
	sec, _ := now.Unix()
	if r.changed {
		counters[countEnded] = sec
	}
	if d.linkless {
		counters[countLinkless] = 1
	}
	next.Error, next.Away = "", nil
	if passErr == nil {
		passErr = r.noRoom
	}
	if passErr != nil {
		next.Error = causeOf(passErr)
	}
	if r.complete {
		next.State, next.Walked = wire.Mirrored, !a.State.Prunes()
		next.Root, next.Upstreams, next.SourceFingerprint = &r.root, a.Upstreams, d.tree.Fingerprint
		if a.HasNow {
			at := a.Now.Add(-wire.ClockLag)
			next.Checkpoint = &at
		}
	}
	if passErr == nil && (r.full || r.complete && counters[countWalked] == 0) {
		counters[countWalked] = sec
	}
	next.Counters = counters
	next.Unread = len(d.unread.lines)
	m.config.Stats.State.Store(stateNumber(&next))
	if !r.counting && sameStatus(&d.status, &next) {
		return nil
	}
	return m.writeStatus(next, now)
}

// sameStatus compares what makes a status worth writing: not the times of
// passes that found nothing.
func sameStatus(a, b *state.Status) bool {
	if a.SourceRun != b.SourceRun || !sameStamp(a.SourceTop, b.SourceTop) || a.SourceFingerprint != b.SourceFingerprint || (a.Away == nil) != (b.Away == nil) ||
		a.State != b.State || a.Unread != b.Unread || a.Walked != b.Walked || a.Error != b.Error || len(a.Counters) != len(b.Counters) {
		return false
	}
	for key, value := range b.Counters {
		if a.Counters[key] != value && key != countWalked {
			return false
		}
	}
	if a.Deletions == nil || b.Deletions.Base != a.Deletions.Base || b.Deletions.Shut != a.Deletions.Shut || b.Deletions.Unsure != a.Deletions.Unsure {
		return false
	}
	if a.Counters[countWalked] == 0 && b.Counters[countWalked] != 0 {
		return false
	}
	return sameStamp(a.Root, b.Root)
}

func sameStamp(a, b *mtree.Stamp) bool { return a == b || a != nil && b != nil && *a == *b }

func (m *mirror) writeStatus(next state.Status, now mtree.Stamp) error {
	next.Updated = &now
	if m.confirmed != nil {
		next.Confirmed = m.confirmed
	}
	next.Boot, next.PID = machine.BootID(), os.Getpid()
	next.Stamps, next.Unread, next.Exceptions = 0, len(m.dest.unread.lines), m.dest.unread.turn
	m.dest.status = next
	return local(m.dest.file.Write(next))
}

// causeOf names the cause of an error without any path or address: status.json
// is published.
func causeOf(err error) string {
	var errno syscall.Errno
	switch status := remote.StatusText(err); {
	case status != "":
		return "the source answers " + status
	case errors.Is(err, mtree.ErrListing):
		return "the source gives no listing"
	case errors.Is(err, errFlush):
		return errFlush.Error()
	case isLocal(err) && errors.As(err, &errno), exit.Of(err) == exit.Local && errors.As(err, &errno):
		return "the copy's disk: " + errno.Error()
	case errors.Is(err, errItself):
		return "the copy would be copied into itself"
	case exit.Of(err) == exit.Refused:
		return "the source is of another tree"
	case exit.Of(err) == exit.Held:
		return "deletions are held"
	}
	return "the source cannot be read"
}
