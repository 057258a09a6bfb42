package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Look is a copy opened for reading only, without its lock: a mirror may keep it
// meanwhile.
type Look struct {
	state.Published // what is known of it, as of when it was opened
	root            *disk.Dir
	marker          *state.Marker
}

// LookAt opens the copy at path. It refuses what is not a copy (exit.Refused).
func LookAt(path, stateDir string) (*Look, error) {
	root, err := disk.OpenRoot(path)
	if err != nil {
		return nil, exit.With(exit.Local, err, "give DEST")
	}
	l := &Look{root: root}
	if err := CheckStateDir(root, stateDir); err != nil {
		l.Close()
		return nil, err
	}
	if l.marker, err = state.OpenMarker(root, stateDir); err == nil {
		l.Published, err = l.marker.Published()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && l.Tree.Role != state.Copy:
		err = exit.With(exit.Refused, fmt.Errorf("%q is no copy", path), "give the DEST of a mirror")
	case err != nil:
		err = exit.With(exit.Local, err, "")
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close releases what is open.
func (l *Look) Close() {
	if l.marker != nil {
		_ = l.marker.Close()
	}
	_ = l.root.Close()
}

// Held reads the deletions that are held.
func (l *Look) Held() (HeldList, error) { return readHeld(l.marker, heldName) }

// Uncopied reads what is not copied.
func (l *Look) Uncopied() (Uncopied, error) { return readUncopied(l.marker) }

// NotedBackup returns where the backup directory of the copy is; "": there is none.
func (l *Look) NotedBackup() (string, error) { return notedBackup(l.marker) }

// NotedLimit returns --max-delete of the mirror that ran last; "": it was the default.
func (l *Look) NotedLimit() (string, error) { return noted(l.marker, limitName) }

// Confirmed returns up to when the copy is known to equal what the source published, by
// the local clock: what a live mirror announces, else what was written last; nil if that
// is not known.
func (l *Look) Confirmed() *mtree.Stamp {
	if told, _ := l.marker.Announced(); told != 0 {
		at := mtree.Unix(told, 0)
		return &at
	}
	if l.Status.Confirmed != nil {
		return l.Status.Confirmed
	}
	return l.Status.Checkpoint
}

// IsKept reports whether a mirror keeps the copy now.
func (l *Look) IsKept() (bool, error) { return l.marker.Locked() }

// CanLock returns nil if the lock of the copy is free, and else why it cannot be taken:
// state.ErrLocked if a mirror has it.
func (l *Look) CanLock() error {
	lock, err := l.marker.Lock()
	if err == nil {
		_ = lock.Unlock()
	}
	return err
}

// Release leaves a list of deletions for the mirror that keeps the copy.
func (l *Look) Release(held *HeldList) error {
	return state.WriteFile(l.marker.Dir(), releaseName, held.Format())
}

// IsReleaseTaken reports whether that mirror has taken the list.
func (l *Look) IsReleaseTaken() (bool, error) {
	_, err := l.marker.Dir().Stat(releaseName)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// Withdraw removes a list that was left for a mirror.
func (l *Look) Withdraw() error {
	err := l.marker.Dir().Unlink(releaseName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// aheadSlack is by how much a stamp may lie above the clock it was taken from. It is the
// coarsest granule: by that much stamps are made to grow.
const aheadSlack = 2 * time.Second

// HasReached reports whether the copy holds everything up to stamp: its root is
// complete with a stamp that is not older. A later stamp that lies in the source's
// future proves nothing, because later changes may have earlier stamps. Cost: three
// system calls.
func (l *Look) HasReached(stamp mtree.Stamp) (bool, error) {
	root, err := l.completed()
	if root == nil {
		return false, err
	}
	return *root == stamp || root.After(stamp) && !l.isAhead(*root), nil
}

// isAhead reports whether a stamp of the root lies in the source's future, as far as
// the copy knows the source's clock.
func (l *Look) isAhead(root mtree.Stamp) bool {
	status, _ := l.marker.ReadStatus()
	return status.Checkpoint != nil && root.After(status.Checkpoint.Add(wire.ClockLag+aheadSlack))
}

// completed returns the stamp that the copy's root was completed with, nil while it
// is unfinished.
func (l *Look) completed() (*mtree.Stamp, error) {
	info, err := l.root.Self()
	if err != nil {
		return nil, err
	}
	record, ok, err := records.Read(l.root)
	if err != nil {
		return nil, err
	}
	if !ok && errors.Is(records.Probe(l.root), records.ErrNoXattr) {
		status, err := l.marker.ReadStatus()
		if status.Root == nil {
			return nil, err
		}
		record, ok = records.Record{Stamp: *status.Root}, true
	}
	if !ok || !record.IsStored(info.MTime) {
		return nil, nil
	}
	return &record.Stamp, nil
}

// IsBeingMade reports whether a mirror keeps what is at path although it is not a copy
// yet: a mirror takes the lock before it knows what it copies.
func IsBeingMade(path, stateDir string) bool {
	root, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer root.Close()
	m, err := state.OpenMarker(root, stateDir)
	if err != nil {
		return false
	}
	defer m.Close()
	if _, err := m.ReadTree(); !errors.Is(err, state.ErrNoTree) {
		return false
	}
	locked, _ := m.Locked()
	return locked
}
