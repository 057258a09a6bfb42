package watch

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/identity"
)

// Sync waits until everything done in the tree at root before the call is published. Then
// it returns the root's stamp: a copy whose root has that stamp, or a later one, has it
// all. A watcher must run until it has answered. If none does, the error has code
// exit.Refused. The same holds on a copy, where no watcher ever answers.
func Sync(ctx context.Context, root, stateDir string) (mtree.Stamp, error) {
	dir, err := identity.OpenRoot(root, stateDir, false)
	if err != nil {
		return mtree.Stamp{}, err
	}
	defer dir.Close()
	m, err := state.OpenMarker(dir, stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return mtree.Stamp{}, exit.With(exit.Refused, err, "no watch ever ran here: start one first")
	}
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	defer m.Close()
	events, err := dirwatch.New()
	if err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	if _, err := events.Add(m.Dir(), dirwatch.AnyChange); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	q := question{dir: dir, marker: m, cookie: cookiePrefix + rand.Text(), wait: func() error { return waitEvent(events, syncLook) }}
	if err := q.ask(ctx); err != nil {
		return mtree.Stamp{}, err
	}
	return rootStamp(dir, m)
}

// rootStamp returns the root's stamp, once a --sync is answered. If the root refuses its time,
// what it shows is no stamp: a copy may have that already, and nothing of what is asked for.
func rootStamp(dir *disk.Dir, m *state.Marker) (mtree.Stamp, error) {
	if status, err := m.ReadStatus(); err == nil && status.Error == health.RootRefuses { // guard: TestSyncWhereTheRootRefuses
		return mtree.Stamp{}, exit.With(exit.Failed, errors.New("all is published, but the root refuses its time, and so has no stamp"),
			"give watch the right to set it (owner or CAP_FOWNER, a writable mount, no chattr +i), then sync again")
	}
	info, err := dir.Self()
	return info.MTime, err
}

// waitEvent returns when something happened, or when much time has passed.
func waitEvent(events *dirwatch.Watch, much time.Duration) error {
	err := events.WakeAt(time.Now().Add(much))
	if err == nil {
		_, err = events.Next(nil)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// question is what a --sync asks the watcher of a tree.
type question struct {
	dir    *disk.Dir
	marker *state.Marker
	cookie string
	wait   func() error // until something may have happened to the cookie
}

// ask makes the cookie, and returns when it is answered.
func (q *question) ask(ctx context.Context) error {
	if err := answerable(q.dir, q.marker); err != nil {
		return err
	}
	if err := state.WriteFile(q.marker.Dir(), q.cookie, nil); err != nil {
		return exit.With(exit.Local, err, remedyCookie(err))
	}
	err := q.waitAnswer(ctx)
	if err != nil {
		_ = q.marker.Dir().Unlink(q.cookie)
	}
	return err
}

// remedyCookie says what to do where --sync cannot make its file.
func remedyCookie(err error) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return "--sync writes a file in .tidemark: make room there"
	}
	return "--sync writes a file in .tidemark: run it as the watcher's user"
}

const (
	// syncLook is how often --sync checks whether the watcher still runs. When a watcher is
	// killed, its lock may end after its last file was closed, and no event follows.
	syncLook = time.Second

	// syncAgain is how often --sync makes its cookie anew. A watcher that dropped the cookie,
	// or missed its event, then hears of it again.
	syncAgain = 3 * time.Second
)

// waitAnswer returns when the cookie is answered, or when no watcher is left to answer. A
// cookie that vanished without an answer was removed with .tidemark.
func (q *question) waitAnswer(ctx context.Context) error {
	for again := time.Now().Add(syncAgain); ; {
		_, err := q.marker.Dir().Stat(q.cookie)
		if errors.Is(err, fs.ErrNotExist) {
			if q.marker.Dir().Unlink(answerOf(q.cookie)) == nil {
				return nil
			}
			return exit.With(exit.Failed, errors.New("the tree's .tidemark was removed meanwhile"), "sync again")
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if err := answerable(q.dir, q.marker); err != nil {
			return err
		}
		if time.Now().After(again) {
			again = time.Now().Add(syncAgain)
			if err := q.remake(); err != nil {
				return exit.With(exit.Local, err, "")
			}
		}
		if err := q.wait(); err != nil {
			return cmp.Or(ctx.Err(), exit.With(exit.Local, err, ""))
		}
	}
}

// remake makes the cookie anew, unless it was answered just now.
func (q *question) remake() error {
	err := q.marker.Dir().Unlink(q.cookie)
	if err == nil {
		err = state.WriteFile(q.marker.Dir(), q.cookie, nil)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the next look tells
	}
	return err
}

// answerable returns why a cookie will not be answered, nil if it will. The lock of a
// copy is a mirror's.
func answerable(dir *disk.Dir, m *state.Marker) error {
	for _, read := range []func() (state.Tree, error){m.ReadTree, func() (state.Tree, error) { return state.OwnTree(dir) }} {
		if tree, _ := read(); tree.Role == state.Copy {
			return exit.With(exit.Refused, errors.New("this is a copy: a mirror keeps it, and no watch"),
				"sync at the source, and give what that prints to mirror --wait-for STAMP here")
		}
	}
	running, err := m.Locked()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if !running {
		return exit.With(exit.Refused, errors.New("no watch is running"), "start it, then sync")
	}
	return nil
}
