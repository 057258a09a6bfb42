package watch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
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
	must(t, os.RemoveAll(filepath.Join(root, ".tidemark")))
	require.Equal(t, exit.Failed, exit.Of(<-done))
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
		r.sync()
		if made := stampOf(t, root, dir); made == before || stampOf(t, root, ".").Before(made) {
			t.Fatalf("%s: %s after %s, the root %s", dir, made, before, stampOf(t, root, "."))
		}
	}
}
