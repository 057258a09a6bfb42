package watch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/watch/internal/audit"
)

// keptBy makes a tree of that role whose lock is held by somebody who does not answer. The
// returned function ends the lock as a kill does: no event tells of that.
func keptBy(t *testing.T, role state.Role) (root string, kill func()) {
	root = newTree(t, "a/f = one")
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	m, err := state.CreateMarker(dir, "")
	must(t, err)
	defer m.Close()
	self, err := state.RootOf(dir)
	must(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: role}
	tree.Bind(self)
	must(t, m.WriteTree(tree))
	lock, err := os.OpenFile(filepath.Join(root, ".tidemark/lock"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	set := func(kind int16) {
		must(t, unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind}))
	}
	set(unix.F_WRLCK)
	return root, func() { set(unix.F_UNLCK) }
}

func cookiesOf(t *testing.T, root string) []string {
	names, err := filepath.Glob(filepath.Join(root, ".tidemark", watch.CookiePrefix+"*"))
	must(t, err)
	return names
}

// On a copy --sync waited without a word: its mirror has the lock and answers nobody.
func TestSyncOnACopy(t *testing.T) {
	root, _ := keptBy(t, state.Copy)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := watch.Sync(ctx, root, "")
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorContains(t, err, "this is a copy")
	require.ErrorContains(t, err, "--wait-for")
	require.Empty(t, cookiesOf(t, root))
}

// A watcher that is killed closes its last file before its lock ends. If --sync looked in
// between, it heard nothing more and waited for ever.
func TestSyncWhenTheWatcherIsKilled(t *testing.T) {
	root, kill := keptBy(t, state.Source)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := watch.Sync(ctx, root, ""); done <- err }()
	require.Eventually(t, func() bool { return len(cookiesOf(t, root)) == 1 }, 10*time.Second, time.Millisecond)
	kill()
	err := <-done
	require.Equal(t, exit.Refused, exit.Of(err), err)
	require.ErrorContains(t, err, "no watch is running")
	require.Empty(t, cookiesOf(t, root))
}

// Whoever deletes .tidemark deletes the file for which --sync waits. That was taken for the
// watcher's answer.
func TestSyncWhenTheMarkerIsRemoved(t *testing.T) {
	root, _ := keptBy(t, state.Source)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := watch.Sync(ctx, root, ""); done <- err }()
	require.Eventually(t, func() bool { return len(cookiesOf(t, root)) == 1 }, 10*time.Second, time.Millisecond)
	must(t, removeMarker(root))
	// Refused, if it asks just then who watches: nobody does, for all that it can see.
	require.Contains(t, []exit.Code{exit.Failed, exit.Refused}, exit.Of(<-done))
}

// Without events, a --sync that came during an audit was answered at the end of it, though
// that audit may have passed the change already. It waits for the next one.
func TestSyncDuringAnAudit(t *testing.T) {
	root := newTree(t)
	for i := range 2000 {
		must(t, os.MkdirAll(filepath.Join(root, fmt.Sprint(i)), 0o755))
	}
	audits, ended := make(chan struct{}), make(chan struct{})
	r := start(t, watch.Config{Root: root, Backend: "none", Audit: audits})
	defer close(ended)
	go func() {
		for {
			select {
			case audits <- struct{}{}:
			case <-ended:
				return
			}
		}
	}()
	for i := range 15 {
		dir := fmt.Sprint(i * 100)
		before := stampOf(t, root, dir)
		write(t, filepath.Join(root, dir, "f"), "new")
		shown := stampOf(t, root, dir)
		r.sync()
		// If it is another one again, the next audit is stamping it, and has not come to the root yet.
		if made := stampOf(t, root, dir); made == before || made == shown && stampOf(t, root, ".").Before(made) {
			t.Fatalf("%s: %s after %s, the root %s", dir, made, before, stampOf(t, root, "."))
		}
	}
}

// An audit that came for another reason found the cookie in .tidemark, and the first of its
// findings that were published answered it: changes before the cookie were still in the queue.
func TestSyncWaitsForTheQueue(t *testing.T) {
	root, many := newTree(t), 3*audit.FindingsAtOnce
	path := func(i int) string { return fmt.Sprintf("%04d", i) }
	for i := range many {
		must(t, os.Mkdir(filepath.Join(root, path(i)), 0o755))
		write(t, filepath.Join(root, path(i), "f"), "old")
	}
	audits, checked, changed, times := make(chan struct{}), make(chan struct{}), atomic.Bool{}, atomic.Int64{}
	config := watch.Config{Root: root, Backend: "inotify", Audit: audits, Settle: time.Second}.SetTime(func(d *disk.Dir, stamp mtree.Stamp) error {
		if changed.Load() && times.Add(1) == audit.FindingsAtOnce+10 {
			select { // in the middle of the second batch
			case <-checked:
			case <-time.After(2 * time.Second):
			}
		}
		return d.SetTime(stamp)
	})
	r := start(t, config)
	before := stamps(t, root)
	for i := range many {
		write(t, filepath.Join(root, path(i), "f"), "new")
	}
	changed.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.sync()
		for i := range many {
			assert.NotEqual(t, before[path(i)], stampOf(t, root, path(i)), path(i))
		}
		close(checked)
	}()
	require.Eventually(t, func() bool { return len(cookiesOf(t, root)) == 1 }, deadline, time.Millisecond)
	audits <- struct{}{}
	<-done
}

// A cookie that nobody answers is made anew: a watcher that missed its event, once, left
// --sync waiting for ever.
func TestSyncAsksAgain(t *testing.T) {
	root, _ := keptBy(t, state.Source)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := watch.Sync(ctx, root, ""); done <- err }()
	require.Eventually(t, func() bool { return len(cookiesOf(t, root)) == 1 }, deadline, time.Millisecond)
	cookie := cookiesOf(t, root)[0]
	first, err := os.Stat(cookie)
	must(t, err)
	require.Eventually(t, func() bool {
		now, err := os.Stat(cookie)
		return err == nil && !os.SameFile(first, now)
	}, 30*time.Second, time.Millisecond)
	answer := filepath.Join(filepath.Dir(cookie), watch.AnswerPrefix+strings.TrimPrefix(filepath.Base(cookie), watch.CookiePrefix))
	must(t, os.Rename(cookie, answer))
	must(t, <-done)
	require.NoFileExists(t, answer)
}
