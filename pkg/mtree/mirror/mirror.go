package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
)

// mirror is a source and a copy of it, opened. One goroutine uses it; a pass
// lends it to its steps, which only read it.
type mirror struct {
	config  Config
	rules   rules
	filters *glob.List
	limiter *rate.Limiter // of file contents; nil: none
	source  source
	leave   func() // the source
	dest    *dest
	seen    seen
	warned  disk.State // for which full walks were announced
	turns   turns
	crowded crowded
	hookDue bool // something changed since --exec ran
}

// open opens source and copy and takes the lock.
func open(c Config) (*mirror, error) {
	c = c.withDefaults()
	rules, err := c.compile()
	if err != nil {
		return nil, err
	}
	m := &mirror{config: c, rules: rules, filters: rules.filters}
	if c.BWLimit > 0 {
		m.limiter = rate.NewLimiter(rate.Limit(c.BWLimit), int(max(c.BWLimit/10, 64<<10)))
	}
	if m.source, m.leave, err = openSource(&c); err != nil {
		return nil, err
	}
	if m.dest, err = openDest(&c); err != nil {
		m.leave()
		return nil, err
	}
	m.dest.filters = m.filters
	if m.dest.marker != nil {
		if held, err := readHeld(m.dest.marker, heldName); err == nil {
			c.Stats.Held.Store(held.total())
		}
	}
	return m, nil
}

func (m *mirror) close() {
	m.leave()
	m.dest.close()
}

// openSource returns the source, and what to call when it is no longer needed.
func openSource(c *Config) (source, func(), error) {
	if c.Source == "" {
		return nil, nil, exit.With(exit.Usage, errors.New("no source"), "give SOURCE and DEST")
	}
	if isURL(c.Source) {
		s, err := openHTTP(c)
		if err != nil {
			return nil, nil, err
		}
		return s, s.close, nil
	}
	if err := apart(c.Source, c.Dest); err != nil {
		return nil, nil, err
	}
	s, err := openLocal(c)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.root.Close() }, nil
}

func isURL(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

// apart refuses a copy inside its source, which would copy itself for ever, and
// a source inside its copy, which would be deleted.
func apart(from, to string) error {
	a, err := resolved(from)
	if err != nil {
		return nil // openLocal says it better
	}
	b, err := resolved(to)
	if err != nil {
		return nil
	}
	if a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/") {
		return exit.With(exit.Usage, fmt.Errorf("%q and %q lie within each other", from, to), "give two separate directories")
	}
	return nil
}

// resolved returns the real path of a directory that may not exist yet.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	up, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(up, filepath.Base(path)), err
}

// claim makes the copy one of the tree that a is the root of, or refuses. It
// returns why nothing may be deleted, if so, and whether a full walk is due.
func (m *mirror) claim(a *answer) (holdAll string, walk bool, err error) {
	d, c := m.dest, &m.config
	t := d.tree
	if up := within(d.path, a.treeID); up != "" {
		return "", false, exit.With(exit.Refused, fmt.Errorf("%q lies within the source, or a copy of it: %q", d.path, up),
			"give a DEST outside of it")
	}
	switch {
	case t.ID == "" || c.Adopt:
	case t.NoID && a.treeID == "" && t.Upstream != c.Source:
		return "", false, exit.With(exit.Refused, fmt.Errorf("the copy was made from %q, and neither source has a tree id", t.Upstream),
			"give that source, or --adopt to make the copy equal to this one")
	case !t.NoID && a.foreign:
		return "", false, exit.With(exit.Unreachable, fmt.Errorf("%w: something else than serve answers", mtree.ErrListing),
			"the copy was made from a tidemark tree")
	case !t.NoID && a.treeID == "":
		return "the source has lost its tree id", false, nil
	case !t.NoID && a.treeID != t.ID:
		return "", false, exit.With(exit.Refused, fmt.Errorf("the copy is of tree %s, the source is tree %s", t.ID, a.treeID),
			"give the right source, or --adopt to make the copy equal to this one")
	}
	next := disk.Tree{
		ID: a.treeID, Epoch: a.epoch, Role: disk.Copy, Upstream: c.Source, NoID: a.treeID == "", Filters: c.selection(),
		E: a.e,
	}
	if next.E == "" {
		next.E = t.E // a proxy took it away, or no stamp prunes: then everything is compared anyway
	}
	if next.NoID {
		if next.ID = t.ID; !t.NoID || t.ID == "" {
			next.ID = disk.NewTreeID()
		}
	}
	same := t.ID == next.ID && t.NoID == next.NoID && t.Epoch == next.Epoch && t.Upstream == next.Upstream &&
		slices.Equal(t.Filters, next.Filters) && t.E == next.E && t.BoundTo(d.self)
	if same && d.status.State != "" || c.DryRun {
		return "", !same, nil
	}
	if m.turns.turn(t.E, next.E) {
		c.Log.Warn("serves of different options answer by turns: each change is a full walk",
			"remedy", "start all serves behind that address with the same options and version")
	}
	next.Bind(d.self)
	return "", false, exit.With(exit.Local, m.retake(next), "")
}

// within returns the directory above path that is the tree's root, or that of a
// copy of it, by its id: a copy in there would copy itself for ever, or be
// deleted. "" if there is none. What cannot be read is passed over. Cost: some
// five system calls for each directory above.
func within(path, treeID string) string {
	up, err := resolved(path)
	if err != nil || treeID == "" {
		return ""
	}
	for up != filepath.Dir(up) {
		up = filepath.Dir(up)
		if rootOf(up, treeID) {
			return up
		}
	}
	return ""
}

func rootOf(path, treeID string) bool {
	dir, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	if tree, err := readTree(dir, ""); err == nil {
		return tree.ID == treeID
	}
	id, ok := dir.TreeID()
	return ok && id == treeID
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

// newIn says what makes a full walk due.
func newIn(was, is *disk.Tree) string {
	switch {
	case was.ID != is.ID:
		return "this copy is new to its source, or the other way round"
	case was.Upstream != is.Upstream:
		return "another SOURCE"
	case was.Epoch != is.Epoch:
		return "the source is in another epoch: it cannot prove what changed"
	case !slices.Equal(was.Filters, is.Filters):
		return "other filters, --no-delete, --no-links or --owner"
	case was.E != is.E:
		return "the source's serve has other options, or is another version"
	}
	return "what is remembered of this copy was lost"
}

// retake writes who the copy is a copy of. Unless it is empty, nothing that its
// records say is trusted from here on: one full walk is due, also after a kill.
func (m *mirror) retake(next disk.Tree) error {
	d := m.dest
	empty, err := d.empty()
	if err != nil {
		return err
	}
	if !empty {
		m.config.Log.Info("everything is compared once", "why", newIn(&d.tree, &next))
		if err := d.begin(d.root, "", disk.Record{}, true); err != nil {
			return err
		}
	}
	switch {
	case d.tree.ID != next.ID:
		d.status = disk.Status{State: disk.Filling}
		if err := d.marker.Dir().Unlink(heldName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case d.status.State == "":
		d.status = disk.Status{State: disk.Filling, Deletions: d.status.Deletions}
	}
	if err := d.file.Write(d.status); err != nil {
		return err
	}
	if err := d.marker.WriteTree(next); err != nil {
		return err
	}
	d.tree = next
	return nil
}

// pass claims the copy for the source's root as a shows it and runs a pass.
func (m *mirror) pass(ctx context.Context, a answer, walk bool) (*pass, error) {
	if !m.config.DryRun {
		if err := m.dest.standing(); err != nil {
			return nil, exit.With(exit.Local, err, "start mirror anew")
		}
	}
	holdAll, due, err := m.claim(&a)
	if err != nil {
		return nil, err
	}
	prunes := a.state.Prunes()
	if !prunes && m.warned != a.state {
		m.warned = a.state
		m.config.Log.Warn("stamps of this source do not prune: every pass is a full walk", "state", a.state, "server", a.dialect,
			"remedy", "run watch at the source")
	}
	p := m.newPass(a, walk || due || !prunes)
	p.holdAll = holdAll
	p.recallHeld()
	err = p.run(ctx)
	m.count(p, err)
	m.crowded.note(p)
	if m.config.DryRun {
		return p, err
	}
	return p, errors.Join(err, p.storeUncopied(), m.publish(p, err))
}

func (m *mirror) count(p *pass, err error) {
	s := m.config.Stats
	s.Passes.Add(1)
	s.Incomplete.Store(p.incomplete)
	now, _ := m.config.Now().Unix()
	s.LastPass.Store(now)
	if err != nil {
		s.Errors.Add(1)
	}
	if p.complete {
		root, _ := p.root.Unix()
		s.RootStamp.Store(root)
		if p.full {
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
	countEntries = "entries"    // in the copy, as of the last full walk and what was made and deleted since
	countWalked  = "walked"     // end of the last full walk, Unix seconds
	countHeld    = "held"       // deletions held
	countFailed  = "failed"     // paths that failed in the last pass
	countBehind  = "incomplete" // directories the last pass left incomplete
	countEnded   = "ended"      // end of the last pass that changed something, Unix seconds
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
func (m *mirror) publish(p *pass, passErr error) error {
	d := m.dest
	next := d.status
	deletions, entries := p.remembered()
	next.Deletions = deletions
	counters := map[string]int64{
		countEntries: entries, countWalked: d.status.Counters[countWalked],
		countHeld: p.held, countFailed: p.failed, countBehind: p.incomplete, countEnded: d.status.Counters[countEnded],
	}
	now := m.config.Now()
	sec, _ := now.Unix()
	if p.changed {
		counters[countEnded] = sec
	}
	next.Error = ""
	if passErr == nil {
		passErr = p.noRoom
	}
	if passErr != nil {
		next.Error = causeOf(passErr)
	}
	if p.complete {
		next.State, next.Walked = disk.Mirrored, !p.source.state.Prunes()
		next.Root, next.Chain = &p.root, p.source.chain
		if p.source.listing.HasNow {
			at := p.source.listing.Now.Add(-clockLag)
			next.Checkpoint = &at
		}
	}
	if passErr == nil && (p.full || p.complete && counters[countWalked] == 0) {
		counters[countWalked] = sec
	}
	next.Counters = counters
	if !p.counting.Load() && sameStatus(&d.status, &next) {
		return nil
	}
	return m.writeStatus(next, now)
}

// clockLag is by how much a file's time may lie behind the clock.
const clockLag = 20 * time.Millisecond

// sameStatus compares what makes a status worth writing: not the times of
// passes that found nothing.
func sameStatus(a, b *disk.Status) bool {
	if a.State != b.State || a.Walked != b.Walked || a.Error != b.Error || len(a.Counters) != len(b.Counters) {
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
	return a.Root == b.Root || a.Root != nil && b.Root != nil && *a.Root == *b.Root
}

func (m *mirror) writeStatus(next disk.Status, now mtree.Stamp) error {
	next.Updated = &now
	next.Boot, next.PID = disk.BootID(), os.Getpid()
	m.dest.status = next
	return local(m.dest.file.Write(next))
}

// causeOf names the cause of an error without any path or address: status.json
// is published.
func causeOf(err error) string {
	var status *statusError
	var errno syscall.Errno
	switch {
	case errors.As(err, &status):
		return fmt.Sprintf("the source answers %d %s", status.status, http.StatusText(status.status))
	case errors.Is(err, mtree.ErrListing):
		return "the source gives no listing"
	case errors.Is(err, errFlush):
		return errFlush.Error()
	case isLocal(err) && errors.As(err, &errno), exit.Of(err) == exit.Local && errors.As(err, &errno):
		return "the copy's disk: " + errno.Error()
	case exit.Of(err) == exit.Refused:
		return "the source is of another tree"
	case exit.Of(err) == exit.Held:
		return "deletions are held"
	}
	return "the source cannot be read"
}
