package watch

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
)

// refused requires that a watcher does not start, with code 4 and a remedy.
func refused(t *testing.T, c Config, remedy string) {
	t.Helper()
	err := Run(context.Background(), c)
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorContains(t, err, remedy)
}

func TestTwoWatchers(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, Config{Root: root})
	refused(t, Config{Root: root}, "already running")
}

// copyTree copies as cp -a does, with times and attributes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestCopiedTree(t *testing.T) {
	root := newTree(t, "a/f = one")
	r := start(t, Config{Root: root})
	r.stop()
	id := r.status().Tree.ID
	same, other := filepath.Join(newTree(t), "same"), filepath.Join(newTree(t), "other")
	copyTree(t, root, same)
	copyTree(t, root, other)
	refused(t, Config{Root: same}, "--same-tree")
	refused(t, Config{Root: other}, "--new-tree")

	r = start(t, Config{Root: same, SameTree: true})
	require.Equal(t, id, r.status().Tree.ID)
	require.Greater(t, r.status().Tree.Epoch, uint64(1))
	r.stop()
	start(t, Config{Root: same}).stop()

	r = start(t, Config{Root: other, NewTree: true})
	require.NotEqual(t, id, r.status().Tree.ID)
	r.stop()
	start(t, Config{Root: other})
}

func TestPromote(t *testing.T) {
	root := newTree(t, "a/f = one")
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	info, err := dir.Root()
	must(t, err)
	m, err := disk.CreateMarker(dir, "")
	must(t, err)
	tree := disk.Tree{ID: disk.NewTreeID(), Epoch: 7, Role: disk.Copy, Upstream: "http://example/"}
	tree.Bind(info)
	must(t, m.WriteTree(tree))
	must(t, m.Close())

	refused(t, Config{Root: root}, "--promote")
	before := stamps(t, root)
	r := start(t, Config{Root: root, Promote: true})
	got := r.status().Tree
	require.Equal(t, tree.ID, got.ID)
	require.Equal(t, disk.Source, got.Role)
	require.Greater(t, got.Epoch, uint64(7))
	require.Empty(t, got.Upstream)
	for path, stamp := range stamps(t, root) {
		require.NotEqual(t, before[path], stamp, path)
	}
	r.stop()
	start(t, Config{Root: root})
}

// A copy whose .tidemark was deleted is still known by its records.
func TestUnmarkedCopy(t *testing.T) {
	root := newTree(t, "a/f = one")
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	must(t, dir.SetRecord(disk.Record{}))
	refused(t, Config{Root: root}, "--promote")
}

func TestNewerFormat(t *testing.T) {
	root := newTree(t, "a/f = one")
	start(t, Config{Root: root}).stop()
	write(t, filepath.Join(root, ".tidemark/tree"), `{"format": 99}`)
	refused(t, Config{Root: root}, "newer")
}

// An id is never minted while one is known.
func TestIDSurvives(t *testing.T) {
	eachBackend(t, testIDSurvives)
}

func testIDSurvives(t *testing.T, backend string) {
	root := newTree(t, "a/f = one")
	r := start(t, Config{Root: root, Backend: backend})
	id := r.status().Tree.ID
	for range 3 {
		must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
		require.Eventually(t, func() bool { return r.status().State == disk.Watched }, deadline, time.Millisecond)
		require.Equal(t, id, r.status().Tree.ID)
		require.EqualValues(t, 1, r.status().Tree.Epoch)
		r.sync()
	}
	refused(t, Config{Root: root, Backend: backend}, "already running")
	must(t, os.Remove(filepath.Join(root, ".tidemark/tree")))
	require.Eventually(t, func() bool { return r.status().State == disk.Watched }, deadline, time.Millisecond)
	r.stop()
	must(t, os.RemoveAll(filepath.Join(root, mtree.MarkerName)))
	r = start(t, Config{Root: root, Backend: backend})
	require.Equal(t, id, r.status().Tree.ID)
	require.Greater(t, r.status().Tree.Epoch, uint64(1))
}

func TestStateDir(t *testing.T) {
	eachBackend(t, testStateDir)
}

func testStateDir(t *testing.T, backend string) {
	root, state := newTree(t, "a/f = one"), filepath.Join(newTree(t), "state")
	r := start(t, Config{Root: root, Backend: backend, StateDir: state})
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
	r := start(t, Config{Root: root, Backend: backend})
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

// A directory that refuses its time makes the state degraded; the rest goes on.
func TestRefusal(t *testing.T) {
	root := t.TempDir() // chattr needs a real file system
	for _, dir := range []string{"a/fixed", "b"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	write(t, filepath.Join(root, "a/fixed/f"), "one")
	chattr(t, "+i", filepath.Join(root, "a/fixed"))
	t.Cleanup(func() { chattr(t, "-i", filepath.Join(root, "a/fixed")) })
	r := start(t, Config{Root: root})
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "a/fixed/f"), "two")
	r.sync()
	r.await(disk.Degraded)
	require.Contains(t, r.log.String(), `a/fixed/`)
	require.NotContains(t, r.status().Status.Error, "fixed", "no paths in the status")
	seen.fresh("above the refusal", "a")
	seen.note()
	write(t, filepath.Join(root, "b/g"), "elsewhere")
	r.sync()
	seen.fresh("elsewhere", "b")
	chattr(t, "-i", filepath.Join(root, "a/fixed"))
	write(t, filepath.Join(root, "a/fixed/f"), "three")
	r.sync()
	r.await(disk.Watched)
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
	r := start(t, Config{Root: root, Backend: backend, Exclude: []string{"*.tmp", "/cache/"}})
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
	err := Run(context.Background(), Config{Root: root})
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "--state-dir")
	_, err = os.Stat(filepath.Join(root, "a/f"))
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

// rm -r takes .tidemark first and the root with it: that the root is gone is what
// there is to say.
func TestMarkerWentWithTheRoot(t *testing.T) {
	root := newTree(t, "a/")
	w, err := open(Config{Root: root}, "none")
	must(t, err)
	defer w.close()
	must(t, os.RemoveAll(root))
	require.ErrorContains(t, w.marks([]string{"tree"}, &batch{}), "moved, deleted or unmounted")
}
