package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/links"
)

// Open opens and locks the copy at o.Path, and makes it if it is missing. It refuses
// (exit.Refused) a directory that is neither empty nor a copy nor adopted. It writes
// only the marker, and makes it anew if somebody removes it meanwhile.
func Open(o *Options) (r *Replica, err error) {
	if o.ReadOnly {
		return openReadOnly(o)
	}
	for range removalTries {
		if r, err = openLocked(o); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return r, err
}

// removalTries is how often Open makes a .tidemark that somebody removes at the same
// time. An rm -rf may cost a few: it also removes what was made after it began.
const removalTries = 100

// newReplica returns a Replica with nothing open yet.
func newReplica(o *Options) *Replica {
	return &Replica{Path: o.Path, Name: nameOf(o.Path), Umask: machine.Umask(), ReadOnly: o.ReadOnly, log: o.Log, now: o.Now}
}

// openLocked opens the copy to change it.
func openLocked(o *Options) (*Replica, error) {
	if err := disk.MakeRoot(o.Path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, exit.With(exit.Local, err, remedyOpening(err))
	}
	root, err := disk.OpenRoot(o.Path)
	if err != nil {
		return nil, exit.With(exit.Local, err, remedyOpening(err))
	}
	if err := CheckStateDir(root, o.StateDir); err != nil {
		_ = root.Close()
		return nil, err
	}
	r := newReplica(o)
	r.Root, r.Flush = root, root.Flush
	if err := r.claim(o); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openReadOnly opens the copy for a dry run: it makes, locks and probes nothing.
func openReadOnly(o *Options) (*Replica, error) {
	r := newReplica(o)
	r.Times = filetime.Range{Min: mtree.MinStamp, Max: mtree.MaxStamp}
	root, err := disk.OpenRoot(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, exit.With(exit.Local, err, remedyOpening(err))
	}
	r.Root, r.stay = root, stayOf(presentStay(root))
	if err := r.look(o); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// look decides whether the root may be a copy, and reads what an earlier mirror left.
func (r *Replica) look(o *Options) (err error) {
	if r.Self, err = state.RootOf(r.Root); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if err := CheckStateDir(r.Root, o.StateDir); err != nil {
		return err
	}
	if err := r.mayTake(o); err != nil {
		return err
	}
	if r.marker, err = state.OpenMarker(r.Root, o.StateDir); errors.Is(err, fs.ErrNotExist) {
		return nil // it is not a copy yet, so there is nothing to read
	}
	if err == nil {
		r.status, _ = r.marker.ReadStatus() // empty, if it cannot be read
		r.NoLinks = CountersOf(&r.status).NoLinks
		if errors.Is(records.Probe(r.Root), records.ErrNoXattr) {
			if r.records, err = records.ReadLog(r.marker); err == nil {
				r.linesLost.Store(r.records.Stay() != r.stay.String())
			}
		}
	}
	return exit.With(exit.Local, err, remedyOpening(err))
}

// claim takes the root for a copy: it decides whether the root may be one, makes the
// marker, locks it and opens what is in it.
func (r *Replica) claim(o *Options) (err error) {
	if r.Self, err = state.RootOf(r.Root); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if err := r.mayTake(o); err != nil {
		return err
	}
	if r.marker, err = state.CreateMarker(r.Root, o.StateDir); errors.Is(err, state.ErrInTheWay) {
		return exit.With(exit.Local, err, "")
	} else if err != nil {
		return exit.With(exit.Local, err, remedyOpening(err))
	}
	if o.Meanwhile != nil {
		o.Meanwhile()
	}
	if r.lock, err = r.marker.Lock(); errors.Is(err, state.ErrLocked) {
		return exit.With(exit.Refused, err, "one mirror per destination: stop the other one")
	} else if err != nil {
		return exit.With(exit.Local, err, "")
	}
	// Between the first look and the lock, another mirror may have started and ended.
	if err := r.mayTake(o); err != nil {
		return err
	}
	if err := r.prepare(o); err != nil {
		return exit.With(exit.Local, err, remedyOpening(err))
	}
	return nil
}

// mayTake decides whether this directory may become or stay a copy. It always reads from
// the root itself whether that is a source, whatever --state-dir says. If the state
// directory says nothing, it also reads from the root whether that is a copy.
func (r *Replica) mayTake(o *Options) error {
	tree, err := readTree(r.Root, o.StateDir)
	if o.StateDir != "" {
		own, ownErr := state.OwnTree(r.Root)
		switch {
		case ownErr != nil && !errors.Is(ownErr, state.ErrNoTree):
			err = ownErr // what it is is not known
		case ownErr == nil && (own.Role != state.Copy || errors.Is(err, state.ErrNoTree)):
			tree, err = own, nil
		}
	}
	switch {
	case errors.Is(err, state.ErrNewerFormat):
		return exit.With(exit.Refused, err, "update tidemark")
	case errors.Is(err, state.ErrNoTree):
		return r.mayTakeUnmarked(o)
	case disk.Errno(err) != 0: // not read, which says nothing of what is in it
		return exit.With(exit.Local, err, remedyOpening(err))
	case err != nil:
		return exit.With(exit.Refused, err, "repair or remove its .tidemark, then use --adopt")
	case tree.Role != state.Copy:
		return exit.With(exit.Refused, fmt.Errorf("%q is a source that watch keeps", o.Path), "give another destination")
	case !tree.BoundTo(r.Self) && !o.Adopt:
		return exit.With(exit.Refused, fmt.Errorf("%q is not the directory its .tidemark was written for", o.Path),
			"it was copied, restored or not mounted; --adopt takes it over")
	}
	r.tree = tree
	if known, proven, err := state.Noted(r.Root); err == nil && proven && tree.IsEarlier(&known) { // guard: TestAnEarlierMarkerIsPutBack
		r.log.Warn("the copy's .tidemark is from before: everything is compared once",
			"remedy", "none is needed; it was restored from a backup, or put back with the tree")
		r.tree = known
		r.tree.Fingerprint = earlier
	}
	return nil
}

// earlier is the E of a copy of which it is not known under which options it was completed.
const earlier = "-"

// errSource names what a directory was whose .tidemark is lost.
var errSource = errors.New("a source that watch keeps, or kept until its .tidemark was removed")

// mayTakeUnmarked decides about a directory without a tree file, by the attributes of
// the root, which outlive its .tidemark. Attributes that were copied with another
// directory prove nothing.
func (r *Replica) mayTakeUnmarked(o *Options) error {
	known, proven, err := state.Noted(r.Root)
	if err != nil {
		return exit.With(exit.Local, err, remedyOpening(err)) // what it is is not known
	}
	empty, err := r.IsEmpty()
	switch {
	case err != nil:
		return exit.With(exit.Local, err, "")
	case proven && known.Role == state.Copy:
		r.tree = known // only the trust in its records is lost
	case !proven && o.Before != nil && o.Before.isAt(r.Self): // guard: TestAMarkerIsLostWhereNoAttributeProvesTheCopy
		r.tree = o.Before.tree.Lasting() // likewise
	case o.Adopt, empty:
	case proven:
		return exit.With(exit.Refused, fmt.Errorf("%q is %w", o.Path, errSource),
			"start watch there, give another destination, or --adopt to make this one a copy")
	default:
		return exit.With(exit.Refused, fmt.Errorf("%q is not empty and no copy of ours", o.Path),
			"give an empty directory, or --adopt to make this one equal to the source")
	}
	return nil
}

// isAt reports whether the copy was the directory self.
func (r *Replica) isAt(self state.Root) bool {
	return r.Self.Node == self.Node && r.Self.BTime == self.BTime && r.Self.FS == self.FS
}

// readTree reads which tree the directory is, or is a copy of; state.ErrNoTree if
// nothing says so.
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

// prepare opens what a pass needs in addition to the root.
func (r *Replica) prepare(o *Options) (err error) {
	inRoot := r.marker
	if o.StateDir != "" {
		// Files are staged on the copy's own file system.
		if inRoot, err = state.CreateMarker(r.Root, ""); err != nil {
			return err
		}
		defer inRoot.Close()
	}
	present := presentStay(r.Root)
	r.stay = stayOf(present)
	if r.Staging, err = inRoot.OpenStaging("tmp", present); err != nil {
		return err
	}
	if err := r.Staging.SweepError(); err != nil {
		r.log.Warn("what an earlier run was to delete is still there", "error", err,
			"remedy", "look into .tidemark/tmp of DEST, move out what is wanted and delete the rest")
	}
	r.Staging.Folds, r.NoLinks = inRoot.Folds(), !r.Staging.HoldsLinks()
	r.Staging.Composes = r.Staging.ComposesAlike()
	if r.Times, err = inRoot.TimeRange(); err != nil {
		return err
	}
	r.status, _ = r.marker.ReadStatus() // if it cannot be read, a full walk makes a new one
	// These files are written later, and that must not fail.
	if err := r.marker.Vacate(heldName, uncopiedName, untoldName, records.LogName); err != nil {
		return err
	}
	if r.uncopied, err = readUncopied(r.marker); err != nil {
		return err
	}
	r.readUnread()
	if r.file, err = r.marker.CreateStatus(); err != nil {
		return err
	}
	if r.status.Pass != nil { // guard: TestThePassOfAKilledMirror
		r.status.Pass = nil // it was killed
		_ = r.file.Write(r.status)
	}
	r.beacon, _ = r.marker.CreateBeacon() // on a full disk it may be missing
	if err := records.Probe(r.Root); errors.Is(err, records.ErrNoXattr) {
		err = r.openLog()
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return r.openLinks(o.HardLinks)
}

// openLinks opens the index of hard links. If they are not copied it is removed: nobody keeps it.
func (r *Replica) openLinks(wanted bool) (err error) {
	if !wanted {
		return r.marker.Remove(links.Name)
	}
	sec, nsec := r.Self.BTime.Unix()
	index, err := links.Open(r.marker, fmt.Sprintf("%d-%d.%d", r.Self.Node.Ino, sec, nsec), r.log)
	if disk.IsFull(err) { // guard: TestNoRoomForTheIndexOfLinks
		r.log.Warn("no room for the index of hard links: until the next start each name is a file of its own", "error", err,
			"remedy", "make room on the file system of DEST, and start mirror again")
		return r.marker.Remove(links.Name) // what changes meanwhile is not noted
	}
	if err != nil {
		return err
	}
	r.Links = index
	if index.IsNew() && r.tree.Role == state.Copy { // guard: TestALostIndexOfLinksIsMadeByAWalk
		return r.Distrust(0) // no stamp shows which names are one file
	}
	return nil
}

// openLog opens the log of the records. A copy that was one before may have lost lines of
// it, unless the log is of this stay.
func (r *Replica) openLog() (err error) {
	if r.records, err = records.OpenLog(r.marker); err != nil {
		return err
	}
	if r.tree.Role == state.Copy && r.records.Stay() != r.stay.String() { // guard: TestSimulatedLinesThatTheLogLost
		r.linesLost.Store(true)
		return nil
	}
	return r.records.SetStay(r.stay.String())
}

// ErrUnmarked says that the copy lost its .tidemark under a running mirror.
var ErrUnmarked = errors.New("the copy's marker was removed")

// StillAt returns an error if the copy is no longer at its path: the path now names
// another directory, or the marker was removed or renamed (ErrUnmarked). If the status or the
// log of the records was removed, StillAt writes it again.
func (r *Replica) StillAt() error {
	if err := r.Root.StillAt(r.Path); err != nil {
		return err
	}
	if !r.marker.IsThere() || !r.lock.StillIn(r.marker) {
		return fmt.Errorf("%w: %q", ErrUnmarked, filepath.Join(r.Path, mtree.MarkerName))
	}
	if r.records != nil {
		if err := r.records.Mend(r.marker); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file.Displaced(r.marker) {
		return r.rewriteStatus()
	}
	return nil
}
