package watch

import (
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
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	defer func() { stop(); _ = events.Close() }()
	if _, err := events.Add(m.Dir(), dirwatch.AnyChange); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, "")
	}
	if err := answerable(dir, m); err != nil {
		return mtree.Stamp{}, err
	}
	cookie := cookiePrefix + rand.Text()
	if err := state.WriteFile(m.Dir(), cookie, nil); err != nil {
		return mtree.Stamp{}, exit.With(exit.Local, err, remedyCookie(err))
	}
	if err := waitAnswer(ctx, dir, m, events, cookie); err != nil {
		_ = m.Dir().Unlink(cookie)
		return mtree.Stamp{}, err
	}
	info, err := dir.Self()
	return info.MTime, err
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
func waitAnswer(ctx context.Context, dir *disk.Dir, m *state.Marker, watch *dirwatch.Watch, cookie string) error {
	var events []dirwatch.Event
	for again := time.Now().Add(syncAgain); ; {
		_, err := m.Dir().Stat(cookie)
		if errors.Is(err, fs.ErrNotExist) {
			if m.Dir().Unlink(answerOf(cookie)) == nil {
				return nil
			}
			return exit.With(exit.Failed, errors.New("the tree's .tidemark was removed meanwhile"), "sync again")
		}
		if err != nil {
			return exit.With(exit.Local, err, "")
		}
		if err := answerable(dir, m); err != nil {
			return err
		}
		if time.Now().After(again) {
			again = time.Now().Add(syncAgain)
			if err := remake(m, cookie); err != nil {
				return err
			}
		}
		if err := watch.WakeAt(time.Now().Add(syncLook)); err != nil && ctx.Err() == nil {
			return exit.With(exit.Local, err, "")
		}
		if events, err = watch.Next(events[:0]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return exit.With(exit.Local, err, "")
		}
	}
}

// remake makes a cookie anew, unless it was answered just now.
func remake(m *state.Marker, cookie string) error {
	err := m.Dir().Unlink(cookie)
	if err == nil {
		err = state.WriteFile(m.Dir(), cookie, nil)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil // the next look tells
	}
	return exit.With(exit.Local, err, "")
}

// answerable returns why a cookie will not be answered, nil if it will. The lock of a
// copy is a mirror's.
func answerable(dir *disk.Dir, m *state.Marker) error {
	for _, read := range []func() (state.Tree, error){m.ReadTree, func() (state.Tree, error) { return state.OwnTree(dir) }} {
		if tree, err := read(); err == nil && tree.Role == state.Copy {
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
