package watch

import (
	"cmp"
	"errors"
	"io/fs"
	"reflect"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
)

// removalTries is how often something in .tidemark is made that somebody removes at the
// same time. Against rm -rf a few tries are enough: it has not listed the new files.
const removalTries = 100

var errRemoved = errors.New("it is removed again and again")

// restoreMarker puts .tidemark back, with the same id, after it or something in it was
// removed: rsync --delete and git clean do that. It may be removed again meanwhile.
func (w *watcher) restoreMarker() (err error) {
	_ = w.marker.Hide() // guard: TestGitignoreComesBack
	if w.markerIsWhole() {
		if reflect.DeepEqual(w.tree, w.writtenTree) {
			w.health.TreeFile(nil) // also if it could not be read for a while
		}
		return nil
	}
	w.Log.Warn(".tidemark was removed, or replaced: putting it back",
		"remedy", "keep others from removing it: rsync --delete needs --exclude=.tidemark, git clean -e .tidemark")
	for range removalTries {
		if err = w.makeMarker(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if w.markerIsWhole() {
			return nil
		}
	}
	w.health.TreeFile(cmp.Or(err, errRemoved)) // the next event tries again, and the next audit
	return w.checkRoot()
}

// markerIsWhole reports whether everything that belongs in .tidemark is there.
func (w *watcher) markerIsWhole() bool {
	return w.marker.IsThere() && w.lock.StillIn(w.marker) && w.marker.Has("tree", "status.json", "left.0", "left.1") && w.markerIsOurs()
}

// markerIsOurs reports whether .tidemark has the files that this watcher wrote. It does
// not after an older .tidemark was restored over it, with the tree or alone.
func (w *watcher) markerIsOurs() bool {
	t, err := w.marker.ReadTree()
	if disk.IsUnsure(err) && !disk.IsUnreadable(err) || errors.Is(err, state.ErrNewerFormat) {
		return true // nothing better is known
	}
	return err == nil && t.Same(w.writtenTree) && w.statusFile.StillIn(w.marker) && w.exceptions.StillIn(w.marker)
}

// makeMarker makes the missing files of .tidemark. The error is fs.ErrNotExist if they were
// removed meanwhile; then the open files have no names.
func (w *watcher) makeMarker() error {
	isThere := w.marker.IsThere()
	if !isThere {
		m, err := state.CreateMarker(w.root, w.StateDir)
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		_ = w.names.writer.Close() // nor have its files
		_ = w.marker.Close()       // the directory has no name any more
		w.marker = m
		// Before the lock: a --sync that sees the lock writes a cookie, and would wait for an
		// event of a directory that is not armed. rewriteMarker reports errors.
		_, _, _ = w.source.Arm(notify.Marker, -1, m.Dir().Path(), m.Dir().FD()) // guard: TestArmedBeforeItsLockIsSeen
	}
	if !isThere || !w.lock.StillIn(w.marker) {
		err := w.lock.Move(w.marker)
		if errors.Is(err, state.ErrLocked) {
			return exit.With(exit.Refused, err, "another watcher took the tree while .tidemark was away")
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
	}
	return w.rewriteMarker()
}

// rewriteMarker opens the files of .tidemark anew and writes their contents.
func (w *watcher) rewriteMarker() error {
	statusFile, log := w.statusFile, w.ownWritesLog
	if _, err := w.openFiles(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	_ = errors.Join(log.Close(), statusFile.Close())
	w.ownWrites.SwitchLog(w.ownWritesLog)
	w.exceptions.Rewrite()
	w.saveExceptions()
	w.writtenTree = state.Tree{}
	if err := w.writeTree(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	w.armMarker()
	w.writeStatus()
	w.beginJournal() // guard: TestAnotherJournal
	return nil
}

// armMarker begins to hear .tidemark. Each audit does so again, before it looks for cookies: as
// the tree counts as heard after it, unless it finds something that cannot be heard.
func (w *watcher) armMarker() {
	_, _, err := w.source.Arm(notify.Marker, -1, w.marker.Dir().Path(), w.marker.Dir().FD())
	if err != nil && w.marker.IsThere() {
		w.health.CannotHear(err)
	}
}

// openFiles opens the status and the log of own writes. It returns the records of the
// log.
func (w *watcher) openFiles() (known []state.OwnWrite, err error) {
	statusFile, err := w.marker.CreateStatus()
	if err != nil {
		return nil, err
	}
	log, known, err := w.marker.OpenOwnWrites()
	if err != nil {
		return nil, errors.Join(err, statusFile.Close())
	}
	w.statusFile, w.ownWritesLog = statusFile, log
	return known, nil
}
