package watch_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// What a checkpoint promises, and what the next watcher relies on.

// brokenOff runs a watcher that is stopped, in order, before its start audit has
// read anything.
func brokenOff(t *testing.T, c watch.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.Ready = cancel
	must(t, watch.Run(ctx, c.SameProcess()))
}

// later is a clock so far ahead that what the tree shows now is older than what an
// audit looks back.
func later() mtree.Stamp { return machine.Now().Add(6 * stamprule.LookBack) }

// SIGTERM 0.1 s into a start audit moved the checkpoint to the time of the stop. Changes
// from the time when nobody watched, in directories that the audit had not read yet, were
// never published.
func TestAuditBrokenOff(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/gone = x", "b/old/sub/f = y", "c/f = old @1000000000", "d/f = new")
		in := func(path string) string { return filepath.Join(root, path) }
		start(t, watch.Config{Root: root, Backend: backend}).stop()
		r := &running{t: t, root: root}
		before, epoch := r.status().Status, r.status().Tree.Epoch
		seen := logStamps(t, root)
		must(t, os.Remove(in("a/gone")))
		must(t, os.Rename(in("b/old"), in("b/renamed")))
		must(t, os.Rename(in("c/f"), in("d/f")))

		for range 2 {
			brokenOff(t, watch.Config{Root: root, Backend: backend, Now: later})
			require.Equal(t, wire.Audited, r.status().State)
			require.Equal(t, before.Checkpoint, r.status().Status.Checkpoint)
			require.Equal(t, before.Audit, r.status().Status.Audit)
		}
		r = start(t, watch.Config{Root: root, Backend: backend, Now: later})
		for _, dir := range []string{"a", "b/renamed/sub", "c", "d"} {
			seen.fresh("while nobody watched", dir)
		}
		require.Equal(t, epoch, r.status().Tree.Epoch)
	})
}

// startWithWatches starts a watcher that may have only so many watches of inotify. The limit
// is that of a user namespace of its own: the sysctl is for all programs of the machine.
func startWithWatches(t *testing.T, r *running, most int) *process {
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c",
		fmt.Sprintf(`echo %d > /proc/sys/user/max_inotify_watches && exec "$0"`, most), os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROOT="+r.root, "WATCH_TEST_BACKEND=inotify")
	cmd.Stderr = r.log
	must(t, cmd.Start())
	p := &process{t, cmd}
	t.Cleanup(p.kill)
	return p
}

// Out of inotify watches, the checkpoint moved with every batch elsewhere. After a restart
// with more watches, changes in directories that had not been heard were never published.
func TestDeafKeepsTheCheckpoint(t *testing.T) {
	root := newTree(t, "a/", "b/", "c/", "d/", "e/", "f/", "g/", "h/", "i/", "j/", "k/", "l/")
	r := &running{t: t, root: root, log: new(logged)}
	p := startWithWatches(t, r, 6)
	r.await(wire.Degraded)
	checkpoint := r.status().Status.Checkpoint
	require.NotNil(t, checkpoint, "its audit has read and stamped everything")
	seen, floor := logStamps(t, root), *r.status().Status.Floor
	for dir := range stamps(t, root) {
		must(t, os.Mkdir(filepath.Join(root, dir, "new"), 0o755))
	}
	require.Eventually(t, func() bool { return r.status().Status.Floor.After(floor) }, deadline, time.Millisecond, "what is heard is published")
	require.Equal(t, checkpoint, r.status().Status.Checkpoint)
	p.kill()
	require.Equal(t, wire.Degraded, r.status().State)
	r = start(t, watch.Config{Root: root})
	r.sync()
	r.await(wire.Watched)
	for _, dir := range ancestors("l") {
		seen.fresh("heard by nobody", dir)
	}
}

// What changed below --exclude is published once the option is gone. A start without the
// option did not know that there was something to publish.
func TestOtherOptions(t *testing.T) {
	root := newTree(t, "p/log/deep/f = one", "q/")
	excluding := watch.Config{Root: root, Exclude: []string{"log/", "*.tmp"}}
	start(t, excluding).stop()
	r := start(t, excluding)
	seen, epoch := logStamps(t, root), r.status().Tree.Epoch
	write(t, filepath.Join(root, "p/log/deep/f"), "two")
	r.sync()
	r.stop()
	require.Equal(t, seen.seen["p/log/deep"], map[mtree.Stamp]bool{stampOf(t, root, "p/log/deep"): true})
	brokenOff(t, watch.Config{Root: root, Now: later}) // has published nothing
	r = start(t, watch.Config{Root: root, Now: later})
	seen.fresh("excluded so far", "p/log/deep")
	require.Equal(t, epoch, r.status().Tree.Epoch)
	r.stop()
	before := stamps(t, root)
	start(t, watch.Config{Root: root, Now: later}).stop()
	require.Equal(t, before, stamps(t, root), "the same options")

	// What an older version excluded is not known.
	editTree(t, root, func(tree *state.Tree) { tree.Options = "" })
	start(t, watch.Config{Root: root, Now: later})
	for path, stamp := range stamps(t, root) {
		require.NotEqual(t, before[path], stamp, path)
	}
}

// Without events, too, an audit knows what the one before has stamped.
func TestOnceIsQuiet(t *testing.T) {
	root := newTree(t, "a/b/c/", "d/e/")
	soon := func() mtree.Stamp { return machine.Now().Add(time.Second) } // so that no ctime is too young to tell
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: soon}))
	seen := logStamps(t, root)
	must(t, os.Mkdir(filepath.Join(root, "a/b/c/new"), 0o755))
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "moved")))
	must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: soon}))
	seen.fresh("made", "a/b/c")
	before := stamps(t, root)
	for range 2 {
		must(t, watch.Once(t.Context(), watch.Config{Root: root, Now: soon}))
		require.Equal(t, before, stamps(t, root))
	}
}

// editTree changes the tree file between two runs.
func editTree(t *testing.T, path string, edit func(*state.Tree)) {
	t.Helper()
	root, err := disk.OpenRoot(path)
	must(t, err)
	defer root.Close()
	m, err := state.OpenMarker(root, "")
	must(t, err)
	defer m.Close()
	tree, err := m.ReadTree()
	must(t, err)
	edit(&tree)
	must(t, m.WriteTree(tree))
}

// During the first audit of all, times are no stamps yet: none prunes. Mirrors that read
// meanwhile kept other times than the source's for ever, so the end of that audit begins the
// first epoch. If the audit is broken off, that is still to come.
func TestFirstAuditBrokenOff(t *testing.T) {
	root := newTree(t, "a/b/f = one @1500000000", "a/b/ @1200000000", "a/ @1100000000")
	for range 2 {
		var states []string
		brokenOff(t, watch.Config{Root: root, Notify: func(state string) { states = append(states, state) }})
		p := (&running{t: t, root: root}).status()
		require.Equal(t, wire.Unwatched, p.State)
		require.Zero(t, p.Tree.Epoch)
		require.Nil(t, p.Status.Checkpoint)
		require.Equal(t, []string{"unwatched"}, states)
	}
	r := start(t, watch.Config{Root: root})
	require.NotZero(t, r.status().Tree.Epoch)
	require.Equal(t, at(1_500_000_000), stampOf(t, root, "a"))
}

// A kill between two writes left a checkpoint that the new tree file made valid. So the
// status is written first.
func TestNoCheckpointIsLeft(t *testing.T) {
	root := t.TempDir()
	start(t, watch.Config{Root: root}).stop()
	r := &running{t: t, root: root}
	require.NotNil(t, r.status().Status.Checkpoint)
	editTree(t, root, func(tree *state.Tree) { tree.Inode++ })
	tree := filepath.Join(root, mtree.MarkerName, "tree")
	chattr(t, "+i", tree) // cannot be replaced
	t.Cleanup(func() { chattr(t, "-i", tree) })
	require.Error(t, watch.Run(t.Context(), watch.Config{Root: root, SameTree: true}))
	require.Nil(t, r.status().Status.Checkpoint)
}

// An epoch that could not be written, on a full disk, was never published.
func TestUnwrittenEpoch(t *testing.T) {
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "a"), 0o755))
	var clock movable
	audits := make(chan struct{})
	r := start(t, watch.Config{Root: root, Now: clock.now, Audit: audits})
	r.sync()
	epoch := r.status().Tree.Epoch
	marker := filepath.Join(root, mtree.MarkerName)
	chattr(t, "+i", marker)
	t.Cleanup(func() { chattr(t, "-i", marker) })
	clock.ahead.Store(int64(-2 * time.Second))
	write(t, filepath.Join(root, "a/f"), "one")
	r.await(wire.Degraded)
	require.Nil(t, r.status().Status.Checkpoint)
	require.Equal(t, epoch, r.status().Tree.Epoch)
	chattr(t, "-i", marker)
	audits <- struct{}{}
	r.await(wire.Watched)
	require.Greater(t, r.status().Tree.Epoch, epoch)
	require.NotNil(t, r.status().Status.Checkpoint)
}

// The status says how far a watcher hears, for readers who go further.
func TestCrossMountsIsTold(t *testing.T) {
	for _, far := range []bool{false, true} {
		r := start(t, watch.Config{Root: newTree(t), CrossMounts: far})
		require.Equal(t, &far, r.status().Status.CrossMounts)
	}
}
