package watch

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/watch/internal/health"
)

// asking is a --sync on a machine in memory, whose watcher is the test.
type asking struct {
	*faultkernel.Kernel
	question
	lock   *state.Lock
	waits  int
	cookie uint64 // its inode at the last look
	made   int    // how often it was made
}

const cookiePath = "/tree/.tidemark/sync-1"

// asks lets a --sync ask, and does something whenever it waits: a second passes then.
func asks(t *testing.T, meanwhile func(a *asking) error) (err error) {
	return asksAfter(t, func(*asking) {}, meanwhile)
}

func asksAfter(t *testing.T, prepare func(a *asking), meanwhile func(a *asking) error) (err error) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{Kernel: faultkernel.New(t, 0)}
		a.Make(t, "/tree/")
		dir, openErr := disk.OpenRoot("/tree")
		require.NoError(t, openErr)
		m, openErr := state.CreateMarker(dir, "")
		require.NoError(t, openErr)
		require.NoError(t, m.WriteTree(state.Tree{ID: state.NewTreeID(), Epoch: 1}))
		a.lock, openErr = m.Lock()
		require.NoError(t, openErr)
		a.question = question{dir: dir, marker: m, cookie: "sync-1", wait: func() error {
			a.waits++
			<-time.After(syncLook)
			a.look()
			return meanwhile(a)
		}}
		prepare(a)
		ctx, cancel := context.WithCancel(t.Context())
		a.question.wait = canceling(a.question.wait, cancel)
		err = a.ask(ctx)
		a.Fail = nil
		for _, name := range a.Shell.Names("/tree/.tidemark") {
			require.False(t, strings.HasPrefix(name, "sync"), "%s is left", name)
		}
	})
	return err
}

// errCanceled is what a wait returns whose command is told to stop.
var errCanceled = fs.ErrClosed

func canceling(wait func() error, cancel func()) func() error {
	return func() error {
		err := wait()
		if err == errCanceled {
			cancel()
		}
		return err
	}
}

// look notes whether the cookie was made anew.
func (a *asking) look() {
	stx, err := a.Shell.Statx(unix.AT_FDCWD, cookiePath, 0, unix.STATX_BASIC_STATS)
	if err == nil && stx.Ino != a.cookie {
		a.cookie = stx.Ino
		a.made++
	}
}

func (a *asking) answer() error {
	return a.Shell.Rename(cookiePath, "/tree/.tidemark/synced-1", 0)
}

// A cookie that becomes an answer is one. The command removes it.
func TestAnswer(t *testing.T) {
	require.NoError(t, asks(t, func(a *asking) error {
		if a.waits == 3 {
			return a.answer()
		}
		return nil
	}))
}

// While nobody answers, the cookie is made anew each three seconds, and not more often.
func TestAskedAgain(t *testing.T) {
	require.NoError(t, asks(t, func(a *asking) error {
		if a.waits == 13 {
			require.Equal(t, 4, a.made, "after 0, 4, 8 and 12 s")
			return a.answer()
		}
		return nil
	}))
}

// It may be answered just when it is made anew.
func TestAnsweredMeanwhile(t *testing.T) {
	require.NoError(t, asks(t, func(a *asking) error {
		a.Fail = func(call string) error {
			if call == "unlink sync-1" {
				require.NoError(t, a.answer())
			}
			return nil
		}
		return nil
	}))
}

// What goes wrong is told, and no cookie is left.
func TestAskingInVain(t *testing.T) {
	nothing := func(*asking) error { return nil }
	copyOf := func(a *asking) {
		require.NoError(t, a.marker.WriteTree(state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Copy}))
	}
	for _, c := range []struct {
		what      string
		prepare   func(a *asking)
		meanwhile func(a *asking) error
		code      exit.Code
		text      string
	}{
		{"a copy", copyOf, nothing, exit.Refused, "this is a copy"},
		{"no watcher", func(a *asking) { require.NoError(t, a.lock.Unlock()) }, nothing, exit.Refused, "no watch is running"},
		{"the lock cannot be asked", func(a *asking) { a.Refuse("open lock", unix.EIO, -1) }, nothing, exit.Local, "input/output"},
		{"no room", func(a *asking) { a.Refuse("open .sync-1.new", unix.ENOSPC, -1) }, nothing, exit.Local, "make room"},
		{"no quota", func(a *asking) { a.Refuse("open .sync-1.new", unix.EDQUOT, -1) }, nothing, exit.Local, "make room"},
		{"no rights", func(a *asking) { a.Refuse("open .sync-1.new", unix.EACCES, -1) }, nothing, exit.Local, "as the watcher's user"},
		{"killed", nil, func(a *asking) error { return a.lock.Unlock() }, exit.Refused, "no watch is running"},
		{"removed", nil, func(a *asking) error { return a.Shell.Remove("/tree/.tidemark") }, exit.Failed, "removed meanwhile"},
		{"not to be looked at", nil, func(a *asking) error { a.Refuse("statx sync-1", unix.EIO, -1); return nil }, exit.Local, "input/output"},
		{"not to be made anew", nil, func(a *asking) error { a.Refuse("unlink sync-1", unix.EIO, 1); return nil }, exit.Local, "input/output"},
		{"nothing is heard", nil, func(*asking) error { return unix.EIO }, exit.Local, "input/output"},
		{"told to stop", nil, func(*asking) error { return errCanceled }, exit.Failed, "context canceled"},
	} {
		prepare := c.prepare
		if prepare == nil {
			prepare = func(*asking) {}
		}
		err := asksAfter(t, prepare, c.meanwhile)
		require.Error(t, err, c.what)
		require.Equal(t, c.code, exit.Of(err), c.what)
		require.ErrorContains(t, err, c.text, c.what)
	}
}

// Without a marker no watch ever ran here. What cannot be opened, or heard, is told.
func TestSyncThatCannotBegin(t *testing.T) {
	tryOpenat2(t)
	for _, c := range []struct {
		call string
		code exit.Code
		text string
	}{
		{"", exit.Refused, "no watch ever ran here"}, {"open .tidemark", exit.Local, "input/output"},
		{"inotify ", exit.Local, "input/output"}, {"watch ", exit.Local, "input/output"},
	} {
		k := faultkernel.New(t, 0)
		k.Make(t, "/tree/")
		if c.call != "" {
			k.Make(t, "/tree/.tidemark/")
			k.Fail = func(call string) error {
				if strings.HasPrefix(call, c.call) {
					return unix.EIO
				}
				return nil
			}
		}
		_, err := Sync(t.Context(), "/tree", "")
		require.Equal(t, c.code, exit.Of(err), c.call)
		require.ErrorContains(t, err, c.text, c.call)
	}
}

// A command waits until something happens to .tidemark, but not for ever, and not after it was
// told to stop.
func TestWaitForEvents(t *testing.T) {
	top := t.TempDir()
	events, err := dirwatch.New()
	require.NoError(t, err)
	_, err = events.Add(disktest.OpenRoot(t, top), dirwatch.AnyChange)
	require.NoError(t, err)
	require.GreaterOrEqual(t, waits(func() {
		require.NoError(t, waitEvent(events, 20*time.Millisecond), "time is over")
	}), 20*time.Millisecond)
	require.NoError(t, os.WriteFile(top+"/f", nil, 0o644))
	require.NoError(t, waitEvent(events, time.Hour))
	require.NoError(t, events.Close())
	require.Error(t, waitEvent(events, time.Hour))
}

// A --sync that is told to stop ends, whatever its watcher does.
func TestSyncThatIsToldToStop(t *testing.T) {
	root := t.TempDir()
	m, err := state.CreateMarker(disktest.OpenRoot(t, root), "")
	require.NoError(t, err)
	require.NoError(t, m.WriteTree(state.Tree{ID: state.NewTreeID(), Epoch: 1}))
	lock, err := m.Lock()
	require.NoError(t, err)
	defer lock.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := Sync(ctx, root, ""); ended <- err }()
	require.Eventually(t, func() bool {
		names, err := m.Dir().Names()
		return err == nil && slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, cookiePrefix) })
	}, 30*time.Second, time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(30 * time.Second):
		require.Fail(t, "it goes on")
	}
	require.NoError(t, m.Close())
}

// A root that refuses its time has no stamp. What it shows was printed as one: a copy with that
// time was said to have all.
func TestSyncWhereTheRootRefuses(t *testing.T) {
	dir := disktest.OpenRoot(t, t.TempDir())
	m, err := state.CreateMarker(dir, "")
	require.NoError(t, err)
	defer m.Close()
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	for _, text := range []string{"", health.RootRefuses} {
		require.NoError(t, f.Write(state.Status{Error: text}))
		stamp, err := rootStamp(dir, m)
		if text == "" {
			require.NoError(t, err)
			require.Equal(t, selfOf(t, dir).MTime, stamp)
			continue
		}
		require.Equal(t, exit.Failed, exit.Of(err))
		require.ErrorContains(t, err, "the root refuses its time")
	}
}
