package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// dest is the copy: its root, its marker and the lock, and what its file
// system can store. All below the root goes through root's descriptor.
type dest struct {
	path        string
	name        string // of the root in the directory above it, whatever is mounted by bind
	root        *disk.Dir
	marker      *state.Marker
	lock        *state.Lock
	aside       *disk.Aside
	log         *records.Log // where there are no xattrs; else nil
	times       filetime.Range
	crossMounts bool
	proven      proven
	beginning   sync.Mutex // of a record that is read and then written
	umask       uint32
	flush       func() error // makes all that was written durable
	linkless    bool         // its file system holds no symlinks
	linksTold   bool         // that was said
	ownersTold  bool         // that --owner has no effect
	inPlace     atomic.Bool  // directories filled aside cannot be moved into place here

	uncopied uncopied // of the last pass
	unread   unread

	filters *glob.List // what is excluded is not deleted; nil: nothing is

	tree   state.Tree // as in the marker; ID "" before the first claim
	status state.Status

	statusMu sync.Mutex // of status while steps run: one of them may be the first to change something
	file     *state.StatusFile
	beacon   *state.Beacon // nil: nobody can be told
	self     state.Root    // the root, when it was opened
}

// makeRoom is what to do about a full disk.
const makeRoom = "make room on the file system of DEST"

// openDest opens and locks the copy at c.Dest, making it if it is missing. It
// refuses (exit.Refused) what is neither empty nor ours nor adopted. Nothing
// but the marker is written; anew if it is removed meanwhile.
func openDest(c *Config) (d *dest, err error) {
	if c.DryRun {
		return lookAtDest(c)
	}
	for range removalTries {
		if d, err = takeDest(c); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return d, err
}

// removalTries is how often .tidemark is made that somebody removes at the same time:
// rm -rf needs a few, for what is made anew it has not listed.
const removalTries = 100

func takeDest(c *Config) (*dest, error) {
	if err := os.Mkdir(c.Dest, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, exit.With(exit.Local, err, remedyHere(err))
	}
	root, err := disk.OpenRoot(c.Dest)
	if err != nil {
		return nil, exit.With(exit.Local, err, remedyHere(err))
	}
	if err := outside(root, c.StateDir); err != nil {
		_ = root.Close()
		return nil, err
	}
	d := &dest{path: c.Dest, name: nameOf(c.Dest), root: root, umask: umask()}
	d.flush = root.Flush
	if err := d.open(c); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// lookAtDest is openDest for a dry run: it makes, locks and probes nothing, and
// takes a missing copy for an empty one.
func lookAtDest(c *Config) (*dest, error) {
	d := &dest{path: c.Dest, name: nameOf(c.Dest), umask: umask(), times: filetime.Range{Min: mtree.MinStamp, Max: mtree.MaxStamp}}
	root, err := disk.OpenRoot(c.Dest)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, exit.With(exit.Local, err, remedyHere(err))
	}
	d.root = root
	if d.self, err = state.RootOf(root); err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	if err := errors.Join(outside(root, c.StateDir), d.mayTake(c)); err != nil {
		d.close()
		return nil, err
	}
	m, err := state.OpenMarker(root, c.StateDir)
	if err != nil {
		return d, nil // not ours yet: nothing is remembered
	}
	d.marker = m
	if d.status, err = m.ReadStatus(); err != nil {
		d.status = state.Status{}
	}
	d.linkless = d.status.Counters[countLinkless] != 0
	if errors.Is(records.Probe(root), records.ErrNoXattr) {
		d.log, err = records.ReadLog(m)
	}
	return d, err
}

// outside refuses a state directory in DEST, or in a local SOURCE.
func outside(root *disk.Dir, stateDir string) error {
	return exit.With(exit.Usage, state.CheckDir(root, stateDir, false),
		"give a --state-dir outside of SOURCE and DEST, or none: DEST/.tidemark is not published")
}

func (d *dest) open(c *Config) (err error) {
	if d.self, err = state.RootOf(d.root); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if err := d.mayTake(c); err != nil {
		return err
	}
	if d.marker, err = state.CreateMarker(d.root, c.StateDir); errors.Is(err, state.ErrInTheWay) {
		return exit.With(exit.Local, err, "")
	} else if err != nil {
		return exit.With(exit.Local, err, remedyHere(err))
	}
	if c.meanwhile != nil {
		c.meanwhile()
	}
	if d.lock, err = d.marker.Lock(); errors.Is(err, state.ErrLocked) {
		return exit.With(exit.Refused, err, "one mirror per destination: stop the other one")
	} else if err != nil {
		return exit.With(exit.Local, err, "")
	}
	// Between the first look and the lock somebody else may have come and gone.
	if err := d.mayTake(c); err != nil {
		return err
	}
	if err := d.prepare(c); err != nil {
		return exit.With(exit.Local, err, remedyHere(err))
	}
	return nil
}

// mayTake decides whether this directory may become or stay a copy. That it is a
// source is always read in the root itself, too, whatever --state-dir says; and
// that it is a copy, where that says nothing.
func (d *dest) mayTake(c *Config) error {
	tree, err := readTree(d.root, c.StateDir)
	if c.StateDir != "" {
		own, ownErr := state.OwnTree(d.root)
		if ownErr == nil && (own.Role != state.Copy || errors.Is(err, state.ErrNoTree)) {
			tree, err = own, nil
		}
	}
	switch {
	case errors.Is(err, state.ErrNewerFormat):
		return exit.With(exit.Refused, err, "update tidemark")
	case errors.Is(err, state.ErrNoTree):
		return d.mayTakeUnmarked(c)
	case err != nil:
		return exit.With(exit.Refused, err, "repair or remove its .tidemark, then use --adopt")
	case tree.Role != state.Copy:
		return exit.With(exit.Refused, fmt.Errorf("%q is a source that watch keeps", c.Dest), "give another destination")
	case !tree.BoundTo(d.self) && !c.Adopt:
		return exit.With(exit.Refused, fmt.Errorf("%q is not the directory its .tidemark was written for", c.Dest),
			"it was copied, restored or not mounted; --adopt takes it over")
	}
	d.tree = tree
	return nil
}

// mayTakeUnmarked decides about a directory without a tree file: by what is kept
// on the root if .tidemark was removed. What other directories carry, copied with
// their attributes, proves nothing.
func (d *dest) mayTakeUnmarked(c *Config) error {
	known, proven := state.Noted(d.root)
	empty, err := d.empty()
	switch {
	case err != nil:
		return exit.With(exit.Local, err, "")
	case proven && known.Role == state.Copy:
		d.tree = known // all that is lost is trust
	case c.Adopt, empty:
	case proven:
		return exit.With(exit.Refused, fmt.Errorf("%q is %w", c.Dest, errSource),
			"start watch there, give another destination, or --adopt to make this one a copy")
	default:
		return exit.With(exit.Refused, fmt.Errorf("%q is not empty and no copy of ours", c.Dest),
			"give an empty directory, or --adopt to make this one equal to the source")
	}
	return nil
}

func readTree(root *disk.Dir, stateDir string) (state.Tree, error) {
	m, err := state.OpenMarker(root, stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return state.Tree{}, state.ErrNoTree
	}
	if err != nil {
		return state.Tree{}, err
	}
	defer m.Close()
	return m.ReadTree()
}

func (d *dest) empty() (bool, error) {
	names, err := d.root.Names()
	if err != nil {
		return false, err
	}
	return len(names) == 0 || len(names) == 1 && names[0] == lister.LostFound, nil
}

// prepare opens what a pass needs besides the root.
func (d *dest) prepare(c *Config) (err error) {
	d.crossMounts = false // nothing is written across a mount
	inRoot := d.marker
	if c.StateDir != "" {
		// Files are written aside on their own file system.
		if inRoot, err = state.CreateMarker(d.root, ""); err != nil {
			return err
		}
		defer inRoot.Close()
	}
	if d.aside, err = inRoot.OpenStaging("tmp"); err != nil {
		return err
	}
	if err := d.aside.Left(); err != nil {
		c.Log.Warn("what an earlier run was to delete is still there", "error", err,
			"remedy", "look into .tidemark/tmp of DEST, move out what is wanted and delete the rest")
	}
	d.aside.Folds, d.linkless = inRoot.Folds(), !d.aside.HoldsLinks()
	if d.times, err = inRoot.TimeRange(); err != nil {
		return err
	}
	if d.status, err = d.marker.ReadStatus(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.status = state.Status{} // unreadable is lost: a full walk makes a new one
	}
	if err := d.marker.Vacate(heldName, uncopiedName, records.LogName); err != nil { // those that are written when it is time
		return err
	}
	if d.uncopied, err = readUncopied(d.marker); err != nil {
		return err
	}
	d.readUnread()
	if d.file, err = d.marker.CreateStatus(); err != nil {
		return err
	}
	d.beacon, _ = d.marker.CreateBeacon() // on a full disk there may be none
	if err := records.Probe(d.root); errors.Is(err, records.ErrNoXattr) {
		d.log, err = records.OpenLog(d.marker)
		return err
	} else if err != nil {
		return err
	}
	return nil
}

func (d *dest) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
	_ = d.beacon.Close()
	if d.log != nil {
		_ = d.log.Close()
	}
	if d.aside != nil {
		_ = d.aside.Close()
	}
	if d.lock != nil {
		_ = d.lock.Unlock()
	}
	if d.marker != nil {
		_ = d.marker.Close()
	}
	if d.root != nil {
		_ = d.root.Close()
	}
}

// dir opens the directory at path.
func (d *dest) dir(path string) (*disk.Dir, error) {
	if d.root == nil {
		return nil, fs.ErrNotExist
	}
	return d.root.OpenDirPath(path, d.crossMounts)
}

// standing reports an error if the root's path names another directory by now,
// or the marker was removed: somebody replaced the copy under us. A status that was
// removed it puts back.
func (d *dest) standing() error {
	if err := d.root.Standing(d.path); err != nil {
		return err
	}
	if !d.lock.Standing(d.marker) {
		return fmt.Errorf("%w: %q", errUnmarked, filepath.Join(d.path, mtree.MarkerName))
	}
	if d.file.Displaced(d.marker) {
		return d.restate()
	}
	return nil
}

// restate puts status.json back after somebody removed or replaced it: readers took
// the copy for an unfinished one.
func (d *dest) restate() error {
	file, err := d.marker.CreateStatus()
	if err != nil {
		return err
	}
	_ = d.file.Close()
	d.file = file
	if d.status.State == "" {
		return nil // it is written when there is something to say
	}
	return file.Write(d.status)
}

// errUnmarked says that the copy lost its .tidemark under a running mirror.
var errUnmarked = errors.New("the copy's marker was removed")

// nameOf returns the name that a directory has where it lies.
func nameOf(path string) string {
	path, err := resolved(path)
	if err != nil {
		return ""
	}
	if _, inside := machine.Location(path); inside != "" && inside != "/" {
		return filepath.Base(inside)
	}
	return filepath.Base(path)
}

// umask reads the process's umask without setting it.
func umask() uint32 {
	text, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "Umask:"); ok {
				if mask, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32); err == nil {
					return uint32(mask) & 0o777
				}
			}
		}
	}
	return 0o022
}
