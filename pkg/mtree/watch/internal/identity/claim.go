package identity

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// OpenRoot opens the root of a tree. A state directory in the tree is refused
// (exit.Usage).
func OpenRoot(path, stateDir string, crossMounts bool) (*disk.Dir, error) {
	root, err := disk.OpenRoot(path)
	if err != nil {
		return nil, exit.With(exit.Local, err, "name an existing directory that this user may read")
	}
	if err := state.CheckDir(root, stateDir, crossMounts); err != nil {
		_ = root.Close()
		if !errors.Is(err, state.ErrWithin) {
			return nil, exit.With(exit.Local, err, "")
		}
		return nil, exit.With(exit.Usage, err, "give a --state-dir outside of DIR, or none: DIR/.tidemark is not published")
	}
	return root, nil
}

// Claim makes the marker directory, takes the lock and finds out which tree this is.
// On success the caller owns marker and lock. Errors carry an exit code: exit.Refused
// if another watcher runs, or if the user must say what the tree is.
func Claim(o Options, root *disk.Dir) (m *state.Marker, lock *state.Lock, id Identity, err error) {
	m, err = state.CreateMarker(root, o.StateDir)
	if errors.Is(err, state.ErrInTheWay) {
		return nil, nil, id, exit.With(exit.Local, err, "or use --state-dir DIR")
	}
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "the root must be writable for .tidemark, or use --state-dir DIR")
	}
	opened := m
	defer func() {
		if err != nil {
			_ = opened.Close()
		}
	}()
	info, err := state.RootOf(root)
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "")
	}
	// This comes before the lock: the lock of a copy is its mirror's.
	if _, err = identify(o, root, m, info); err != nil {
		return nil, nil, id, err
	}
	lock, err = m.Lock()
	if errors.Is(err, state.ErrLocked) {
		return nil, nil, id, exit.With(exit.Refused, err, "stop the other watcher first, or ask it with --status")
	}
	if err != nil {
		return nil, nil, id, exit.With(exit.Local, err, "")
	}
	if id, err = identify(o, root, m, info); err == nil {
		id.Mounted = machine.Stay(root.FD())
		if id.Status, err = m.ReadStatus(); errors.Is(err, fs.ErrNotExist) {
			err = nil
		} else if err != nil {
			o.Log.Warn("the status cannot be read: the tree is compared anew", "error", err,
				"remedy", "none is needed for the tree; look whether the disk is sound")
			id.Status, err = state.Status{}, nil
		}
	}
	if err != nil {
		_ = lock.Unlock()
		return nil, nil, id, err
	}
	return m, lock, id, nil
}
