package serve

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// snapshotAge is how old what the tree said of itself may be. Reading it costs
// about 15 system calls, too many for a 304; a watcher that dies is noticed
// this much later.
const snapshotAge = 100 * time.Millisecond

// tree is the published tree: the root, opened once, and what .tidemark says.
type tree struct {
	root    *disk.Dir
	cfg     *Config
	options string // every option that alters a listing, for the E of ETags
	reader  string // who reads, for the same
	latest  atomic.Pointer[snapshot]
	log     records.LogReader // of a copy without xattrs
	aparts  state.ApartReader
	mu      sync.Mutex // held by the one who reads a new snapshot; guards said
	said    string     // the error of the last reading, logged once while it lasts
}

// snapshot is what the tree said of itself at one moment. It is immutable.
type snapshot struct {
	state.Published
	filters  *glob.List // of a copy: what its mirror passes over is nobody's
	chain    string     // of a copy: how it came about, for Tidemark-Upstream
	e        string     // six hex digits: what of an ETag is common to all directories
	crosses  bool       // what is beyond mounts is published
	replaced bool       // the root's path names something else: nothing may be listed
	unread   bool       // what .tidemark says could not be read
	log      *records.Log
	apart    bool // watch tells of directories apart from their times
	read     time.Time

	root mtree.Stamp // time of the root, read before all else

	id, epoch, state, runs []string // as values of headers
}

func openTree(cfg *Config) (*tree, error) {
	root, err := disk.OpenRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	if err := state.CheckDir(root, cfg.StateDir, cfg.CrossMounts); err != nil {
		_ = root.Close()
		return nil, err
	}
	t := &tree{root: root, cfg: cfg}
	t.options = fmt.Sprintf("%t %t %t %q", cfg.Hidden, cfg.Owner, cfg.CrossMounts, cfg.Exclude)
	t.reader = machine.Identity()
	first, err := t.read()
	if errors.Is(err, state.ErrNewerFormat) {
		_ = root.Close()
		return nil, err
	}
	t.publish(first)
	if err != nil {
		t.replace(first) // says so; the tree is served all the same
	}
	return t, nil
}

// now returns a snapshot that is at most snapshotAge old, or twice that while
// somebody else is reading a new one.
func (t *tree) now() *snapshot {
	s := t.latest.Load()
	age := time.Since(s.read)
	if age < snapshotAge {
		return s
	}
	if !t.mu.TryLock() {
		if age < 2*snapshotAge {
			return s
		}
		t.mu.Lock() // nobody asked for long: the one who reads is waited for
	}
	defer t.mu.Unlock()
	if s = t.latest.Load(); time.Since(s.read) < snapshotAge {
		return s
	}
	return t.replace(s)
}

// fresh returns a snapshot read after the call.
func (t *tree) fresh() *snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.replace(t.latest.Load())
}

// apart returns what watch tells of directories apart from their times, as it is
// after the call, nil if that is nothing. On most trees it costs no system call: a
// snapshot is younger than StatusAge.
func (t *tree) apart() (*state.Apart, error) {
	if !t.now().apart {
		return nil, nil
	}
	return t.aparts.Read(t.root, t.cfg.StateDir)
}

// runs returns the value of Tidemark-Runs for an answer that shows the root with
// this stamp: read after that, for a reader must not take the stamps of a run
// for those of the one before. A run is noted before it stamps anything.
func (t *tree) runs(stamp mtree.Stamp) []string {
	if s := t.latest.Load(); filetime.SameStored(s.root, stamp) {
		return s.runs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.latest.Load()
	if !filetime.SameStored(s.root, stamp) {
		s = t.replace(s)
	}
	return s.runs
}

// publish makes s what requests see from here on.
func (t *tree) publish(s *snapshot) {
	if old := t.latest.Load(); t.cfg.CrossMounts && !s.crosses && (old == nil || old.crosses) {
		t.cfg.Log.Warn("what is on other file systems is answered 403: nobody hears there what changes", "remedy", "run watch with --cross-mounts")
	}
	s.id, s.state = []string{s.Tree.ID}, []string{string(s.State)}
	s.epoch = []string{strconv.FormatUint(s.Tree.Epoch, 10)}
	if len(s.Tree.Runs) > 0 {
		s.runs = []string{wire.FormatRuns(s.Tree.Runs)}
	}
	t.latest.Store(s)
}

// same reports whether s tells readers the same as t.
func (s *snapshot) same(t *snapshot) bool {
	return s.State == t.State && s.e == t.e && s.replaced == t.replaced && s.Status.Apart == t.Status.Apart
}

func (t *tree) replace(old *snapshot) *snapshot {
	s, err := t.read()
	if err != nil {
		if said := t.cfg.quoted(err); said != t.said {
			t.said = said
			t.cfg.Log.Error("reading the state of the tree", "error", said)
		}
	} else {
		t.said = ""
	}
	switch {
	case disk.IsOutOfResources(err):
		// It is the tree it was; whether somebody still keeps its stamps is not
		// known for the moment.
		short := *old
		short.State, short.read = wire.Degraded, s.read
		s = &short
	case err != nil:
		// The marker cannot be read: nothing is known, so no stamp prunes.
		s.State = wire.Unwatched
	}
	s.unread = err != nil
	if s.replaced && !old.replaced {
		t.cfg.Log.Error("the root's path names another directory now: restart serve")
	}
	t.publish(s)
	return s
}

func (t *tree) read() (*snapshot, error) {
	s := &snapshot{read: time.Now()}
	if self, err := t.root.Self(); err == nil {
		s.root = self.MTime
	}
	var err error
	s.Published, err = state.ReadPublished(t.root, t.cfg.StateDir)
	if err == nil && s.IsCopy() {
		s.log, err = t.log.Read(t.root, t.cfg.StateDir)
	}
	switch standing := t.root.StillAt(t.cfg.Root); {
	case disk.IsOutOfResources(standing):
		err = standing
	case standing != nil:
		s.replaced, s.State = true, wire.Degraded
	}
	if err == nil && s.Published.Apart() {
		_, err = t.aparts.Read(t.root, t.cfg.StateDir)
		s.apart = err == nil
	}
	s.chain = wire.FormatUpstreams(s.Upstreams())
	var rules []string
	if s.IsCopy() {
		rules = glob.Among(s.Tree.Filters)
	}
	if filters, globErr := glob.Recorded(rules); globErr == nil {
		s.filters = filters
	}
	s.crosses = t.cfg.CrossMounts && (err != nil || s.Crosses())
	if s.Tree.Role == state.Copy && !s.Bound {
		rules = []string{"nobody keeps it"} // what its stamps stood for meanwhile is to be compared later
	}
	s.e = t.fingerprint(s, rules)
	return s, err
}

// listingFormat is raised when serve of the same options gives other listings of
// the same tree than before: each mirror of it compares everything once then.
const listingFormat = 1

// fingerprint returns the E of ETags: six hex digits over all that decides, besides
// the directories, what listings show and which files may be read. Of a copy that
// is what its source's E covers, too: that of which the copy is complete, for what
// came with another E is in the copy only then.
func (t *tree) fingerprint(s *snapshot, rules []string) string {
	return wire.Fingerprint(fmt.Appendf(nil, "%d %s %d %s %t %s %q %q",
		listingFormat, s.Tree.ID, s.Tree.Epoch, t.options, s.crosses, t.reader, rules, s.Status.SourceFingerprint))
}
