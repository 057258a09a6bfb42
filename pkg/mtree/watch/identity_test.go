package watch_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// refused requires that a watcher does not start, with code 4 and a remedy.
func refused(t *testing.T, c watch.Config, remedy string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err := watch.Run(ctx, c)
	require.Equal(t, exit.Refused, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, remedy)
}

func TestTwoWatchers(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root})
	refused(t, watch.Config{Root: root}, "already running")
}

// copyTree copies as cp -a does, with times and attributes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestCopiedTree(t *testing.T) {
	root := newTree(t, "a/f = one")
	r := start(t, watch.Config{Root: root})
	r.stop()
	id, epoch := r.status().Tree.ID, r.status().Tree.Epoch
	same, other := filepath.Join(newTree(t), "same"), filepath.Join(newTree(t), "other")
	copyTree(t, root, same)
	copyTree(t, root, other)
	refused(t, watch.Config{Root: same}, "--same-tree")
	refused(t, watch.Config{Root: other}, "--new-tree")

	r = start(t, watch.Config{Root: same, SameTree: true})
	require.Equal(t, id, r.status().Tree.ID)
	require.Greater(t, r.status().Tree.Epoch, epoch)
	r.stop()
	start(t, watch.Config{Root: same}).stop()

	r = start(t, watch.Config{Root: other, NewTree: true})
	require.NotEqual(t, id, r.status().Tree.ID)
	r.stop()
	start(t, watch.Config{Root: other})
}

func TestPromote(t *testing.T) {
	root := newTree(t, "a/f = one")
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	info, err := state.RootOf(dir)
	must(t, err)
	m, err := state.CreateMarker(dir, "")
	must(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Epoch: 7, Role: state.Copy, Upstream: "http://example/"}
	tree.Bind(info)
	must(t, m.WriteTree(tree))
	must(t, m.Close())

	refused(t, watch.Config{Root: root}, "--promote")
	before := stamps(t, root)
	r := start(t, watch.Config{Root: root, Promote: true})
	got := r.status().Tree
	require.Equal(t, tree.ID, got.ID)
	require.Equal(t, state.Source, got.Role)
	require.Greater(t, got.Epoch, uint64(7))
	require.Empty(t, got.Upstream)
	for path, stamp := range stamps(t, root) {
		require.NotEqual(t, before[path], stamp, path)
	}
	r.stop()
	start(t, watch.Config{Root: root})
}

// A copy whose .tidemark was deleted is still known by its records.
func TestUnmarkedCopy(t *testing.T) {
	root := newTree(t, "a/f = one")
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	must(t, records.Set(dir, records.Record{}))
	refused(t, watch.Config{Root: root}, "--promote")
}

func TestNewerFormat(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	write(t, filepath.Join(root, ".tidemark/tree"), `{"format": 99}`)
	refused(t, watch.Config{Root: root}, "newer")
}

// An id is never minted while one is known.
func TestIDSurvives(t *testing.T) {
	eachBackend(t, testIDSurvives)
}

func testIDSurvives(t *testing.T, backend string) {
	root := newTree(t, "a/f = one")
	r := start(t, watch.Config{Root: root, Backend: backend})
	id, epoch := r.status().Tree.ID, r.status().Tree.Epoch
	for range 3 {
		must(t, removeMarker(root))
		require.Eventually(t, func() bool { return r.status().State == wire.Watched }, deadline, time.Millisecond)
		require.Equal(t, id, r.status().Tree.ID)
		require.Equal(t, epoch, r.status().Tree.Epoch)
		r.sync()
	}
	refused(t, watch.Config{Root: root, Backend: backend}, "already running")
	must(t, os.Remove(filepath.Join(root, ".tidemark/tree")))
	require.Eventually(t, func() bool { return r.status().State == wire.Watched }, deadline, time.Millisecond)
	r.stop()
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	r = start(t, watch.Config{Root: root, Backend: backend})
	require.Equal(t, id, r.status().Tree.ID)
	require.Greater(t, r.status().Tree.Epoch, epoch)
}

func TestStateDir(t *testing.T) {
	eachBackend(t, testStateDir)
}

func testStateDir(t *testing.T, backend string) {
	root, state := newTree(t, "a/f = one"), filepath.Join(newTree(t), "state")
	r := start(t, watch.Config{Root: root, Backend: backend, StateDir: state})
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "a/f"), "two")
	r.sync()
	seen.fresh("write", "a")
	require.NoDirExists(t, filepath.Join(root, mtree.MarkerName))
	require.FileExists(t, filepath.Join(state, "tree"))
}

func TestRootMovedAway(t *testing.T) {
	eachBackend(t, testRootMovedAway)
}

func testRootMovedAway(t *testing.T, backend string) {
	root := filepath.Join(newTree(t, "tree/a/f = one"), "tree")
	r := start(t, watch.Config{Root: root, Backend: backend})
	must(t, os.Rename(root, root+".moved"))
	select {
	case err := <-r.ended:
		require.Equal(t, exit.Local, exit.Of(err))
		require.ErrorContains(t, err, "moved")
	case <-time.After(deadline):
		t.Fatal("watch went on")
	}
	r.cancel = nil
}

func chattr(t testing.TB, flag, path string) {
	t.Helper()
	out, err := exec.Command("chattr", flag, path).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestExclude(t *testing.T) {
	eachBackend(t, testExclude)
}

func testExclude(t *testing.T, backend string) {
	root := newTree(t, "a/f = one", "cache/deep/f = x", "a/x.tmp = t")
	r := start(t, watch.Config{Root: root, Backend: backend, Exclude: []string{"*.tmp", "/cache/"}})
	r.sync()
	before := stamps(t, root)
	write(t, filepath.Join(root, "a/x.tmp"), "changed")
	write(t, filepath.Join(root, "cache/deep/f"), "changed")
	must(t, os.Mkdir(filepath.Join(root, "cache/deep/new"), 0o755))
	must(t, os.Remove(filepath.Join(root, "cache/deep/new")))
	r.sync()
	after := stamps(t, root)
	require.Equal(t, before["."], after["."])
	require.Equal(t, before["a"], after["a"])
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "a/f"), "two")
	r.sync()
	seen.fresh("not excluded", "a")
}

func TestUnreadableMarker(t *testing.T) {
	root := newTree(t, "a/f = one")
	write(t, filepath.Join(root, mtree.MarkerName), "a file")
	err := watch.Run(context.Background(), watch.Config{Root: root})
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "--state-dir")
	_, err = os.Stat(filepath.Join(root, "a/f"))
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

// copyWithoutMarker is what rsync -aX --exclude .tidemark leaves.
func copyWithoutMarker(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(newTree(t), "copied")
	copyTree(t, from, to)
	must(t, os.RemoveAll(filepath.Join(to, mtree.MarkerName)))
	return to
}

// A copied directory ran under the id of the tree that it was copied from: the root's
// attribute has that id.
func TestCopiedAttributesProveNothing(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	id := readTreeFile(t, root).ID
	work := copyWithoutMarker(t, root)
	refused(t, watch.Config{Root: work}, "--new-tree")
	r := start(t, watch.Config{Root: work, NewTree: true})
	require.NotEqual(t, id, r.status().Tree.ID)
	r.stop()
	start(t, watch.Config{Root: work}).stop() // and that is its own from then on

	other := copyWithoutMarker(t, root)
	r = start(t, watch.Config{Root: other, SameTree: true})
	require.Equal(t, id, r.status().Tree.ID)
	r.stop()

	// an earlier version wrote only the id, which proves nothing either
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	must(t, syscall.Setxattr(root, "user.tidemark.id", []byte(id), 0))
	refused(t, watch.Config{Root: root}, "--same-tree")
}

// The id of a healthy tree of an earlier version stays. From then on the attribute proves
// it.
func TestIDOfAnEarlierVersion(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	old := alterTreeFile(t, root, func(tree *state.Tree) { tree.FS, tree.Runs = "", nil })
	must(t, syscall.Setxattr(root, "user.tidemark.id", []byte(old.ID), 0))
	start(t, watch.Config{Root: root}).stop()
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	r := start(t, watch.Config{Root: root})
	require.Equal(t, old.ID, r.status().Tree.ID)
}

func readTreeFile(t *testing.T, root string) state.Tree {
	return alterTreeFile(t, root, func(*state.Tree) {})
}

// alterTreeFile changes .tidemark/tree, and the root's attribute with it.
func alterTreeFile(t *testing.T, root string, change func(tree *state.Tree)) state.Tree {
	t.Helper()
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	m, err := state.OpenMarker(dir, "")
	must(t, err)
	defer m.Close()
	tree, err := m.ReadTree()
	must(t, err)
	was := tree
	change(&tree)
	if !tree.Same(was) {
		must(t, m.WriteTree(tree))
	}
	return tree
}

// --new-tree in a unit made another tree at each start.
func TestNewTreeActsOnce(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	first := readTreeFile(t, root).ID
	start(t, watch.Config{Root: root, NewTree: true}).stop()
	second := readTreeFile(t, root)
	require.NotEqual(t, first, second.ID)
	start(t, watch.Config{Root: root, NewTree: true}).stop()
	again := readTreeFile(t, root)
	require.Equal(t, second.ID, again.ID)
	require.Equal(t, second.Epoch, again.Epoch)
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	start(t, watch.Config{Root: root, NewTree: true}).stop()
	require.Equal(t, second.ID, readTreeFile(t, root).ID, "the root's attribute knows")
	start(t, watch.Config{Root: root}).stop() // without it, it counts again
	start(t, watch.Config{Root: root, NewTree: true}).stop()
	require.NotEqual(t, second.ID, readTreeFile(t, root).ID)
}

// asCopy turns a tree into a mirror's copy.
func asCopy(t *testing.T, root string) state.Tree {
	tree := alterTreeFile(t, root, func(tree *state.Tree) {
		tree.Role, tree.Upstream, tree.Path, tree.Fingerprint, tree.Filters = state.Copy, "http://example", "/a", "0a1b2c", []string{"- x"}
	})
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	must(t, records.Set(dir, records.Record{Stamp: tree.Born}))
	return tree
}

// A promoted copy still had its root's record. Once its .tidemark was gone, it counted as a
// copy by that: it had to be promoted again, and its old mirror took it.
func TestPromotedIsASource(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	was := asCopy(t, root)
	refused(t, watch.Config{Root: root, NewTree: true}, "--promote")
	for range 2 { // it may stand in a unit
		start(t, watch.Config{Root: root, Promote: true}).stop()
		now := readTreeFile(t, root)
		require.Equal(t, state.Source, now.Role)
		require.Equal(t, was.ID, now.ID)
		require.Empty(t, now.Upstream+now.Fingerprint)
		require.Empty(t, now.Filters)
		require.Equal(t, "/a", now.Path, "its copies know it by that")
	}
	epoch := readTreeFile(t, root).Epoch
	start(t, watch.Config{Root: root, Promote: true}).stop()
	require.Equal(t, epoch, readTreeFile(t, root).Epoch)
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	_, recorded := records.Of(dir)
	require.False(t, recorded)
	must(t, records.Set(dir, records.Record{})) // an earlier version left it
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	start(t, watch.Config{Root: root}).stop()
	require.Equal(t, was.ID, readTreeFile(t, root).ID)
}

// A copy of a copy's files may become a tree of its own.
func TestCopiedCopy(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, watch.Config{Root: root}).stop()
	id := asCopy(t, root).ID
	for _, work := range []string{copyWithoutMarker(t, root), filepath.Join(newTree(t), "copied")} {
		if _, err := os.Stat(work); err != nil {
			copyTree(t, root, work)
		}
		refused(t, watch.Config{Root: work}, "--new-tree")
		r := start(t, watch.Config{Root: work, NewTree: true})
		require.NotEqual(t, id, r.status().Tree.ID)
		r.stop()
	}
}

// Two watchers with different state directories kept one tree, each hearing the other's
// stamps for ever. And --state-dir made a source of a copy without being asked.
func TestOneWatcherWhateverTheStateDir(t *testing.T) {
	root, stateDir := newTree(t, "a/f = one"), filepath.Join(newTree(t), "state")
	r := start(t, watch.Config{Root: root})
	refused(t, watch.Config{Root: root, StateDir: stateDir}, "already running")
	r.stop()
	asCopy(t, root)
	refused(t, watch.Config{Root: root, StateDir: stateDir}, "--promote")
	start(t, watch.Config{Root: root, StateDir: stateDir, Promote: true}).stop()
	start(t, watch.Config{Root: root, StateDir: stateDir}).stop()
	require.Equal(t, state.Source, readTreeFile(t, root).Role, "its own word, too")
	asCopy(t, root)
	refused(t, watch.Config{Root: root, StateDir: stateDir}, "--promote")

	// also if a mirror left no tree file there, because its state was elsewhere, too
	must(t, os.Remove(filepath.Join(root, ".tidemark/tree")))
	must(t, os.RemoveAll(stateDir))
	refused(t, watch.Config{Root: root, StateDir: stateDir}, "--promote")
	start(t, watch.Config{Root: root, StateDir: stateDir, Promote: true}).stop()
	require.Equal(t, state.Source, readTreeFile(t, root).Role)
}

// A tree whose state is elsewhere from now on stays the same tree, also if its file system
// has no extended attributes.
func TestStateMovedElsewhere(t *testing.T) {
	root, state := newTree(t, "a/f = one"), filepath.Join(newTree(t), "state")
	start(t, watch.Config{Root: root}).stop()
	was := readTreeFile(t, root)
	must(t, syscall.Removexattr(root, "user.tidemark.id"))
	r := start(t, watch.Config{Root: root, StateDir: state})
	now := r.status().Tree
	require.Equal(t, was.ID, now.ID)
	require.Greater(t, now.Epoch, was.Epoch, "its checkpoint stayed where it was")
}

// A command that --exec runs does not keep the tree locked.
func TestHooksInheritNoLock(t *testing.T) {
	root, pid := newTree(t, "a/f = one"), filepath.Join(newTree(t), "pid")
	r := start(t, watch.Config{Root: root, Exec: "sleep 60 >/dev/null 2>&1 </dev/null & echo $! >" + pid + ".new; mv " + pid + ".new " + pid})
	write(t, filepath.Join(root, "a/f"), "two")
	require.Eventually(t, func() bool { _, err := os.Stat(pid); return err == nil }, deadline, time.Millisecond)
	t.Cleanup(func() { _ = exec.Command("sh", "-c", "kill $(cat "+pid+")").Run() })
	r.stop()
	start(t, watch.Config{Root: root}).stop()
}

// Each start is a run of its own, and ends the one before with the floor that it left. A
// source that was rolled back is recognised by that.
func TestRunsOfWatch(t *testing.T) {
	root := newTree(t, "a/f = one")
	r := start(t, watch.Config{Root: root})
	r.sync()
	require.Len(t, r.status().Tree.Runs, 1)
	write(t, filepath.Join(root, "a/f"), "two")
	top := r.sync()
	r.stop()
	require.Nil(t, readTreeFile(t, root).Runs[0].Floor)
	must(t, os.Chtimes(root, day(2090), day(2090))) // ahead of the clock: nobody's stamp
	r = start(t, watch.Config{Root: root})
	runs := r.status().Tree.Runs
	require.Len(t, runs, 2)
	require.Equal(t, top, *runs[0].Floor)
	require.Nil(t, runs[1].Floor)
	r.stop()
	// The stamp of the root counts where the recorded floor is an older one.
	late := machine.Now()
	must(t, os.Chtimes(root, late.Time(), late.Time()))
	r = start(t, watch.Config{Root: root})
	require.Equal(t, late, *r.status().Tree.Runs[1].Floor)
}

// If .tidemark is put back with the tree under a running watch, readers found an epoch, a
// state and runs that were long past.
func TestMarkerRolledBackUnderAWatcher(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/f = one")
		start(t, watch.Config{Root: root, Backend: backend}).stop()
		saved := copyOf(t, filepath.Join(root, mtree.MarkerName))
		r := start(t, watch.Config{Root: root, Backend: backend})
		r.sync()
		want := r.status().Tree
		for _, name := range []string{"tree", "status.json"} {
			must(t, os.Rename(filepath.Join(saved, name), filepath.Join(root, mtree.MarkerName, name)))
			require.Eventually(t, func() bool {
				p := r.status()
				return p.Tree.Same(want) && p.State == wire.Watched && p.Status.PID != 0
			}, deadline, time.Millisecond)
		}
		r.sync()
	})
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(newTree(t), "saved")
	copyTree(t, dir, to)
	return to
}
