package watch

import (
	"context"
	"log/slog"
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
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
	"tidemark/pkg/mtree/wire"
)

// What a watcher may vouch for, and what the next one goes by.

// brokenOff runs a watcher that is stopped, in order, before its start audit has
// read anything.
func brokenOff(t *testing.T, c Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.Ready, c.sameProcess = cancel, true
	must(t, Run(ctx, c))
}

// later is a clock so far ahead that what the tree shows now is older than what an
// audit looks back.
func later() mtree.Stamp { return machine.Now().Add(6 * stamprule.LookBack) }

// SIGTERM 0.1 s into a start audit moved the checkpoint to the stop: what the audit
// had not read yet, of all that happened while nobody watched, was never published.
func TestAuditBrokenOff(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/gone = x", "b/old/sub/f = y", "c/f = old @1000000000", "d/f = new")
		in := func(path string) string { return filepath.Join(root, path) }
		start(t, Config{Root: root, Backend: backend}).stop()
		r := &running{t: t, root: root}
		before, epoch := r.status().Status, r.status().Tree.Epoch
		seen := logStamps(t, root)
		must(t, os.Remove(in("a/gone")))
		must(t, os.Rename(in("b/old"), in("b/renamed")))
		must(t, os.Rename(in("c/f"), in("d/f")))

		for range 2 {
			brokenOff(t, Config{Root: root, Backend: backend, Now: later})
			require.Equal(t, wire.Audited, r.status().State)
			require.Equal(t, before.Checkpoint, r.status().Status.Checkpoint)
			require.Equal(t, before.Audit, r.status().Status.Audit)
		}
		r = start(t, Config{Root: root, Backend: backend, Now: later})
		for _, dir := range []string{"a", "b/renamed/sub", "c", "d"} {
			seen.fresh("while nobody watched", dir)
		}
		require.Equal(t, epoch, r.status().Tree.Epoch)
	})
}

// By what a write proves that its directory did not arrive, besides a Take.
func TestProofOfAWrite(t *testing.T) {
	root := newTree(t, "d/")
	w, err := open(Config{Root: root}, "none")
	must(t, err)
	defer w.close()
	dir, err := w.root.OpenDir("d")
	must(t, err)
	defer dir.Close()
	shows := selfOf(t, dir)
	p := &publisher{watcher: w}
	w.status.Checkpoint = nil
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, nil))
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, &audit.Finding{}), "too young for the scan to tell")
	require.Equal(t, ownwrites.Judged, p.proofOf(shows, &audit.Finding{Judged: shows.CTime}))
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, &audit.Finding{Judged: shows.CTime.Add(1)}), "moved since the scan, perhaps")
	checkpoint := shows.CTime.Add(stamprule.LookBack)
	w.status.Checkpoint = &checkpoint
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, nil))
	checkpoint = checkpoint.Add(1)
	require.Equal(t, ownwrites.Proven, p.proofOf(shows, nil), "nobody has touched it since before the checkpoint")
	w.status.Checkpoint = nil
	w.ownWrites.Put(shows, ownwrites.Judged, true)
	require.Equal(t, ownwrites.Judged, p.proofOf(shows, nil), "as good as what it overwrites")
}

// Out of inotify watches the checkpoint moved with every batch elsewhere. After a
// restart with more of them, what had changed in directories that were not heard
// was never published.
func TestDeafKeepsTheCheckpoint(t *testing.T) {
	root := newTree(t, "a/", "b/", "c/", "d/", "e/", "f/", "g/", "h/", "i/", "j/", "k/", "l/")
	r := &running{t: t, root: root, log: new(logged)}
	// The limit is that of a user namespace of its own.
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", `echo 6 > /proc/sys/user/max_inotify_watches && exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_TEST_ROOT="+root, "WATCH_TEST_BACKEND=inotify")
	cmd.Stderr = r.log
	must(t, cmd.Start())
	p := &process{t, cmd}
	t.Cleanup(p.kill)
	r.await(wire.Degraded)
	checkpoint := r.status().Status.Checkpoint
	require.NotNil(t, checkpoint, "its audit has read and stamped everything")
	seen := logStamps(t, root)
	for dir := range stamps(t, root) {
		must(t, os.Mkdir(filepath.Join(root, dir, "new"), 0o755))
	}
	r.sync()
	require.Equal(t, checkpoint, r.status().Status.Checkpoint)
	p.kill()
	require.Equal(t, wire.Degraded, r.status().State)
	r = start(t, Config{Root: root})
	r.sync()
	r.await(wire.Watched)
	for _, dir := range ancestors("l") {
		seen.fresh("heard by nobody", dir)
	}
}

// What changed below --exclude is published once the option is gone; nothing told
// a start without it that there was something to publish.
func TestOtherOptions(t *testing.T) {
	root := newTree(t, "p/log/deep/f = one", "q/")
	excluding := Config{Root: root, Exclude: []string{"log/", "*.tmp"}}
	start(t, excluding).stop()
	r := start(t, excluding)
	seen, epoch := logStamps(t, root), r.status().Tree.Epoch
	write(t, filepath.Join(root, "p/log/deep/f"), "two")
	r.sync()
	r.stop()
	require.Equal(t, seen.seen["p/log/deep"], map[mtree.Stamp]bool{stampOf(t, root, "p/log/deep"): true})
	brokenOff(t, Config{Root: root, Now: later}) // has published nothing
	r = start(t, Config{Root: root, Now: later})
	seen.fresh("excluded so far", "p/log/deep")
	require.Equal(t, epoch, r.status().Tree.Epoch)
	r.stop()
	before := stamps(t, root)
	start(t, Config{Root: root, Now: later}).stop()
	require.Equal(t, before, stamps(t, root), "the same options")

	// What an older version excluded is not known.
	editTree(t, root, func(tree *state.Tree) { tree.Options = "" })
	start(t, Config{Root: root, Now: later})
	for path, stamp := range stamps(t, root) {
		require.NotEqual(t, before[path], stamp, path)
	}
}

// An audit that left something out has not published what the options left out.
func TestOptionsOfAnIncompleteAudit(t *testing.T) {
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "log"), 0o755))
	must(t, Once(t.Context(), Config{Root: root, Exclude: []string{"log/"}}))
	w, err := open(Config{Root: root}, "none")
	must(t, err)
	w.health.Overflow(os.ErrPermission)
	w.recordAudit(auditReport{})
	must(t, w.close())
	before := stampOf(t, root, "log")
	must(t, Once(t.Context(), Config{Root: root, Now: later}))
	require.NotEqual(t, before, stampOf(t, root, "log"))
}

// Without events, too, an audit knows what the one before has stamped.
func TestOnceIsQuiet(t *testing.T) {
	root := newTree(t, "a/b/c/", "d/e/")
	soon := func() mtree.Stamp { return machine.Now().Add(time.Second) } // so that no ctime is too young to tell
	must(t, Once(t.Context(), Config{Root: root, Now: soon}))
	seen := logStamps(t, root)
	must(t, os.Mkdir(filepath.Join(root, "a/b/c/new"), 0o755))
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "moved")))
	must(t, Once(t.Context(), Config{Root: root, Now: soon}))
	seen.fresh("made", "a/b/c")
	before := stamps(t, root)
	for range 2 {
		must(t, Once(t.Context(), Config{Root: root, Now: soon}))
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

// The order of options and their repetition mean nothing.
func TestOptions(t *testing.T) {
	text := func(c Config) string { return (&watcher{Config: c}).options() }
	require.Equal(t, "--cross-mounts=false", text(Config{}))
	require.Equal(t, text(Config{Exclude: []string{"b", "a", "b"}}), text(Config{Exclude: []string{"a", "b"}}))
	require.NotEqual(t, text(Config{Exclude: []string{"a b"}}), text(Config{Exclude: []string{"a", "b"}}))
	require.NotEqual(t, text(Config{CrossMounts: true}), text(Config{}))
}

// During the first audit of all, times are no stamps yet: none prunes. Mirrors
// that read meanwhile kept other times than the source's for ever, so its end
// begins the first epoch. Broken off, it is still to come.
func TestFirstAuditBrokenOff(t *testing.T) {
	root := newTree(t, "a/b/f = one @1500000000", "a/b/ @1200000000", "a/ @1100000000")
	for range 2 {
		var states []string
		brokenOff(t, Config{Root: root, Notify: func(state string) { states = append(states, state) }})
		p := (&running{t: t, root: root}).status()
		require.Equal(t, wire.Unwatched, p.State)
		require.Zero(t, p.Tree.Epoch)
		require.Nil(t, p.Status.Checkpoint)
		require.Equal(t, []string{"unwatched"}, states)
	}
	r := start(t, Config{Root: root})
	require.NotZero(t, r.status().Tree.Epoch)
	require.Equal(t, at(1_500_000_000), stampOf(t, root, "a"))
}

// A directory that a batch stamped meanwhile is not given its greatest mtime: a
// reader may have seen the stamp.
func TestFirstAuditKeepsStamps(t *testing.T) {
	root := newTree(t, "a/")
	w, err := open(Config{Root: root}, "none")
	must(t, err)
	defer w.close()
	publish := func(f audit.Finding) {
		var b batch
		b.addFindings([]audit.Finding{f})
		must(t, w.write(&b))
	}
	publish(audit.Finding{Path: "a"})
	stamp := stampOf(t, root, "a")
	publish(audit.Finding{Path: "a", First: true, Value: stamp.Add(time.Second), Showed: stamp})
	require.Equal(t, stamp, stampOf(t, root, "a"))
}

// A kill between the status and the tree file left a checkpoint that the new tree
// file made valid: the status goes first.
func TestNoCheckpointIsLeft(t *testing.T) {
	root := t.TempDir()
	start(t, Config{Root: root}).stop()
	r := &running{t: t, root: root}
	require.NotNil(t, r.status().Status.Checkpoint)
	editTree(t, root, func(tree *state.Tree) { tree.Inode++ })
	tree := filepath.Join(root, mtree.MarkerName, "tree")
	chattr(t, "+i", tree) // cannot be replaced
	t.Cleanup(func() { chattr(t, "-i", tree) })
	require.Error(t, Run(t.Context(), Config{Root: root, SameTree: true}))
	require.Nil(t, r.status().Status.Checkpoint)
}

// An epoch that could not be written, on a full disk, was never told to anybody.
func TestUnwrittenEpoch(t *testing.T) {
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "a"), 0o755))
	var clock movable
	audits := make(chan struct{})
	r := start(t, Config{Root: root, Now: clock.now, Audit: audits})
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

// While one audit after another was asked for, the start audit never counted as
// done, for each began another.
func TestAskedForDuringTheStartAudit(t *testing.T) {
	w := &watcher{}
	w.audits.timer = time.NewTimer(time.Hour)
	w.audits.running, w.audits.owed = true, true
	w.Log = slog.New(slog.DiscardHandler)
	w.requestAudit(w.auditScope("asked for"))
	w.requestAudit(w.auditScope("asked for"))
	require.False(t, w.audits.next.loss)
	lost := w.auditScope("lost")
	lost.loss, lost.All = true, true
	w.requestAudit(lost)
	w.requestAudit(w.auditScope("asked for"))
	require.True(t, w.audits.next.loss && w.audits.next.All)
}

// In one process what an audit left out is known by path: the next one need not go
// back to a checkpoint that stands, and stamp again all that was stamped since.
func TestKnownByPath(t *testing.T) {
	w := &watcher{}
	require.Nil(t, w.publishedUntil())
	swept, checkpoint := at(100), at(50)
	w.audits.swept = &swept
	require.Equal(t, &swept, w.publishedUntil())
	w.status.Checkpoint = &checkpoint
	require.Equal(t, &swept, w.publishedUntil())
	checkpoint = at(200)
	require.Equal(t, &checkpoint, w.publishedUntil())
	require.Equal(t, at(190), w.auditScope(periodic).Since)
}

// How far a watcher hears is told to those who go further.
func TestCrossMountsIsTold(t *testing.T) {
	for _, far := range []bool{false, true} {
		r := start(t, Config{Root: newTree(t), CrossMounts: far})
		require.Equal(t, &far, r.status().Status.CrossMounts)
	}
}
