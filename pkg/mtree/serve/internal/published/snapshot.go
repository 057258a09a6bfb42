package published

import (
	"errors"
	"fmt"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// snapshotAge is how old a snapshot may be. Reading one costs about 15 system calls, too
// many for a 304. The death of a watcher is noticed this much later.
const snapshotAge = 100 * time.Millisecond

// Snapshot is what the tree said of itself at one moment: its state, its epoch, of a copy
// where it came from. It is immutable.
type Snapshot struct {
	state.Published
	Chain       string // of a copy: how it came about, for Tidemark-Upstream
	Fingerprint string // the part of an ETag that is the same for all directories
	Replaced    bool   // the root's path names another directory: nothing may be listed
	Unread      bool   // what .tidemark says could not be read

	// The same as values of headers, for many answers.
	IDs, Epochs, States, Runs, Unreads, Entries []string

	filters       *glob.List   // of a copy: what its mirror excludes, and so nobody keeps
	crosses       bool         // directories beyond mounts are published
	log           *records.Log // of a copy without xattrs
	hasExceptions bool         // watch says things of directories that their times do not show
	another       bool         // the root's path names the root of a tree, which is not this one
	taken         time.Time
	root          mtree.Stamp // time of the root, read before everything else
}

// Same reports whether s says the same to readers as t.
func (s *Snapshot) Same(t *Snapshot) bool {
	return s.State == t.State && s.Fingerprint == t.Fingerprint && s.Replaced == t.Replaced && s.Status.Exceptions == t.Status.Exceptions
}

// Now returns a snapshot that is younger than snapshotAge, or than twice that while another
// goroutine reads a new one. It costs no system call unless the last snapshot is older.
func (t *Tree) Now() *Snapshot {
	s := t.latest.Load()
	age := time.Since(s.taken)
	if age < snapshotAge {
		return s
	}
	if !t.mu.TryLock() {
		if age < 2*snapshotAge {
			return s
		}
		t.mu.Lock() // there was no call for long: wait for the new snapshot
	}
	defer t.mu.Unlock()
	if s = t.latest.Load(); time.Since(s.taken) < snapshotAge {
		return s
	}
	return t.replace(s)
}

// Reread returns a snapshot read after the call. Cost: about 15 system calls.
func (t *Tree) Reread() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.replace(t.latest.Load())
}

// exceptions returns what watch says of directories that their times do not show, as it
// is after the call; nil if there is nothing, or with an error. On most trees it costs no
// system call: a snapshot is younger than state.StatusAge.
func (t *Tree) exceptions() (*state.Exceptions, error) {
	if !t.Now().hasExceptions {
		return nil, nil
	}
	exceptions, err := t.exceptionsReader.Read(t.root, t.cfg.StateDir)
	if err != nil && !disk.IsOutOfResources(err) {
		// Without its errno: what is missing or refused is not what was asked for.
		err = errors.New(err.Error())
	}
	return exceptions, err
}

// RunsAt returns the value of Tidemark-Runs for an answer that shows the root with this
// stamp. It is read after the stamp, because a reader must not take the stamps of a run
// for those of the run before. watch records a run before the run stamps anything.
func (t *Tree) RunsAt(stamp mtree.Stamp) []string {
	if s := t.latest.Load(); filetime.SameStored(s.root, stamp) {
		return s.Runs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.latest.Load()
	if !filetime.SameStored(s.root, stamp) {
		s = t.replace(s)
	}
	return s.Runs
}

// publish makes s the snapshot that requests see from here on.
func (t *Tree) publish(s *Snapshot) {
	if old := t.latest.Load(); t.cfg.CrossMounts && !s.crosses && (old == nil || old.crosses) {
		t.cfg.Log.Warn("what is on other file systems is answered 403: nobody hears there what changes", "remedy", "run watch with --cross-mounts")
	}
	s.IDs, s.States = []string{s.Tree.ID}, []string{string(s.State)}
	s.Epochs = []string{wire.FormatEpoch(s.Tree.Epoch)}
	if unread := wire.FormatUnread(s.UnreadDirs()); unread != "" {
		s.Unreads = []string{unread}
	}
	if counted := s.Counted(); counted != nil {
		s.Entries = []string{counted.Entries.String()}
	}
	if len(s.Tree.Runs) > 0 {
		s.Runs = []string{wire.FormatRuns(s.Tree.Runs)}
	}
	t.latest.Store(s)
}

// replace reads a new snapshot and publishes it. The caller holds t.mu.
func (t *Tree) replace(old *Snapshot) *Snapshot {
	s, err := t.read()
	if err != nil {
		if report := t.Quoted(err); report != t.lastReport {
			t.lastReport = report
			t.cfg.Log.Error("cannot read the state of the tree: mirrors compare everything meanwhile", "error", report,
				"remedy", "let serve read .tidemark in DIR, or give it the --state-dir of watch")
		}
	} else {
		t.lastReport = ""
	}
	switch {
	case disk.IsOutOfResources(err):
		// It is still the same tree, but for the moment it is not known whether a watcher
		// keeps its stamps.
		short := *old
		short.State, short.taken = wire.Degraded, s.taken
		s = &short
	case err != nil:
		// The marker cannot be read: nothing is known, so no stamp prunes.
		s.State = wire.Unwatched
	}
	s.Unread = err != nil
	if s.Replaced && !old.Replaced {
		t.cfg.Log.Error("the root's path names another directory now", "remedy", "mount what was there; or, if this is right, start serve again")
	}
	if s.another {
		t.onceAnother.Do(func() { close(t.another) })
	}
	t.publish(s)
	return s
}

// Another is closed once the root's path names another directory in which watch or mirror has
// kept a tree: a disk was mounted late, or a copy took the place of the source. Nothing brings
// this tree back then, but opening it anew. It is not closed for a directory of which nothing is
// known: that may be the place of a disk that went away.
func (t *Tree) Another() <-chan struct{} { return t.another }

// isTreeAt reports whether the directory at path is the root of a tree.
func (t *Tree) isTreeAt(path string) bool {
	there, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer there.Close()
	p, _ := state.ReadPublished(there, t.cfg.StateDir)          // what could be read
	return p.Tree.ID != "" && (t.cfg.StateDir == "" || p.Bound) // guard (p.Bound -> true): TestAStateDirTellsOfOneRoot
}

// read reads a snapshot. With an error the snapshot says what could be read.
func (t *Tree) read() (*Snapshot, error) {
	s := &Snapshot{taken: time.Now()}
	if self, err := t.root.Self(); err == nil {
		s.root = self.MTime
	}
	var err error
	s.Published, err = state.ReadPublished(t.root, t.cfg.StateDir)
	if err == nil && s.IsCopy() {
		s.log, err = t.log.Read(t.root, t.cfg.StateDir)
	}
	switch stillErr := t.root.StillAt(t.cfg.Root); {
	case disk.IsOutOfResources(stillErr):
		err = stillErr
	case stillErr != nil:
		s.Replaced, s.State = true, wire.Degraded
		// Only then: another error may be one of the root itself, for a moment.
		s.another = errors.Is(stillErr, disk.ErrReplaced) && t.isTreeAt(t.cfg.Root) // guard (without errors.Is): TestARootThatCannotBeStated
	}
	if err == nil && s.Published.HasExceptions() {
		_, err = t.exceptionsReader.Read(t.root, t.cfg.StateDir)
		s.hasExceptions = err == nil
	}
	s.Chain = wire.FormatUpstreams(s.Upstreams())
	var rules []string
	if s.IsCopy() {
		rules = s.Tree.Filters
	}
	if filters, globErr := glob.Recorded(glob.Among(rules)); globErr == nil {
		s.filters = filters
	}
	s.crosses = t.cfg.CrossMounts && (err != nil || s.Crosses())
	if s.Tree.Role == state.Copy && !s.Bound {
		rules = []string{"nobody keeps it"} // later, what changed meanwhile must be compared
	}
	s.Fingerprint = t.fingerprint(s, rules)
	return s, err
}

// listingFormat is raised when a new serve, with the same options, lists the same tree
// differently: then each mirror of it compares everything once.
const listingFormat = 2

// fingerprint returns the options fingerprint of ETags: six hex digits over all that
// decides, besides the directories, what listings show and which files may be read. For a
// copy that includes the filters, --no-links and the like: what comes with others of them
// comes under the old stamps. It also includes the source's fingerprint with which the copy became complete last:
// only a complete copy has everything that came with a new fingerprint.
func (t *Tree) fingerprint(s *Snapshot, rules []string) string {
	return wire.Fingerprint(fmt.Appendf(nil, "%d %s %d %s %t %s %q %q",
		listingFormat, s.Tree.ID, s.Tree.Epoch, t.options, s.crosses, t.reader, rules, s.Status.SourceFingerprint))
}
