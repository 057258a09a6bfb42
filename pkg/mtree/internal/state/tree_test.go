package state_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// The attribute of the root outlives .tidemark. It counts for that directory alone,
// because copies of it carry the attribute, too.
func TestTheNoteOnARoot(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	require.NoError(t, os.Mkdir(top, 0o755))
	d, m, tree := marked(t, top, state.Tree{Role: state.Copy, Epoch: 3, Upstream: "http://example", Path: "/a", Runs: []wire.Run{{ID: "0000000000000001"}}})
	before, err := d.Self()
	require.NoError(t, err)
	tree.Epoch++
	require.NoError(t, m.WriteTree(tree))
	after, err := d.Self()
	require.NoError(t, err)
	require.Equal(t, before.CTime, after.CTime, "an epoch, or a run, does not move the root's ctime")

	out, err := exec.Command("cp", "-a", top, top+".copy").CombinedOutput()
	require.NoError(t, err, "%s", out)
	other := disktest.OpenRoot(t, top+".copy")
	for _, at := range []*disk.Dir{d, other} {
		require.NoError(t, os.RemoveAll(filepath.Join(at.Path(), mtree.MarkerName)))
		noted, proven, err := state.Noted(at)
		require.NoError(t, err)
		require.Equal(t, at == d, proven)
		require.Equal(t, tree.ID, noted.ID)
		require.Equal(t, state.Copy, noted.Role)
		require.Equal(t, "http://example", noted.Upstream)
		require.Equal(t, "/a", noted.Path)
	}
	own, err := state.OwnTree(d)
	require.NoError(t, err)
	require.Equal(t, tree.ID, own.ID)
	_, err = state.OwnTree(other)
	require.ErrorIs(t, err, state.ErrNoTree)

	// an earlier version left the id alone
	require.NoError(t, syscall.Setxattr(top, "user.tidemark.id", []byte(tree.ID), 0))
	noted, proven, err := state.Noted(d)
	require.NoError(t, err)
	require.False(t, proven)
	require.Equal(t, state.Tree{ID: tree.ID}, noted)
	for _, bad := range []string{"", "x", `{"format":99,"id":"` + tree.ID + `"}`, `{"id":"x"}`} {
		require.NoError(t, syscall.Setxattr(top, "user.tidemark.id", []byte(bad), 0))
		noted, proven, err := state.Noted(d)
		require.NoError(t, err)
		require.False(t, proven)
		require.Empty(t, noted.ID, bad)
	}
}

// A snapshot of a root has the same inode number and birth time.
func TestBinding(t *testing.T) {
	root := state.Root{FS: "one"}
	root.Node, root.BTime = disk.Node{Dev: 1, Ino: 256}, mtree.Unix(5, 0)
	var tree state.Tree
	tree.Bind(root)
	for name, c := range map[string]struct {
		change func(r *state.Root)
		bound  bool
	}{
		"itself":                              {func(*state.Root) {}, true},
		"after a reboot":                      {func(r *state.Root) { r.Node.Dev = 2 }, true},
		"a snapshot":                          {func(r *state.Root) { r.FS = "two" }, false},
		"another inode":                       {func(r *state.Root) { r.Node.Ino++ }, false},
		"another life of the inode":           {func(r *state.Root) { r.BTime = mtree.Unix(6, 0) }, false},
		"no birth time":                       {func(r *state.Root) { r.BTime = mtree.Stamp{} }, true},
		"file system unknown":                 {func(r *state.Root) { r.FS = "" }, true},
		"no birth time, after a reboot":       {func(r *state.Root) { r.BTime, r.Node.Dev = mtree.Stamp{}, 2 }, true},
		"file system unknown, after a reboot": {func(r *state.Root) { r.FS, r.Node.Dev = "", 2 }, true},
		"neither":                             {func(r *state.Root) { r.FS, r.BTime = "", mtree.Stamp{} }, true},
		"neither, and another device":         {func(r *state.Root) { r.FS, r.BTime, r.Node.Dev = "", mtree.Stamp{}, 2 }, false},
		"file system unknown, another life":   {func(r *state.Root) { r.FS, r.BTime = "", mtree.Unix(6, 0) }, false},
	} {
		other := root
		c.change(&other)
		require.Equal(t, c.bound, tree.BoundTo(other), name)
	}
	old := tree // of a version that did not know file systems
	old.FS = ""
	require.True(t, old.BoundTo(root))
	old = tree // of a kernel that knew no birth times
	old.Born = mtree.Stamp{}
	require.True(t, old.BoundTo(root))
}

// An epoch follows the clock, so that two lineages never have the same one, and never
// goes back.
func TestRaiseEpoch(t *testing.T) {
	for _, c := range []struct {
		epoch uint64
		clock int64
		want  uint64
	}{{1, 1_700_000_000, 1_700_000_000}, {1_700_000_000, 1_700_000_000, 1_700_000_001}, {1_800_000_000, 1_700_000_000, 1_800_000_001}, {0, -5, 1}, {7, -5, 8}} {
		tree := state.Tree{Epoch: c.epoch}
		tree.RaiseEpoch(mtree.Unix(c.clock, 5))
		require.Equal(t, c.want, tree.Epoch)
	}
}

func TestRuns(t *testing.T) {
	var tree state.Tree
	for i := range int64(wire.MaxRuns + 3) {
		tree.BeginRun(mtree.Unix(100+i, 0))
	}
	require.Len(t, tree.Runs, wire.MaxRuns)
	latest := wire.LatestRun(tree.Runs)
	require.Equal(t, tree.Runs[wire.MaxRuns-1].ID, latest)
	require.Equal(t, tree.Runs, wire.ParseRuns(wire.FormatRuns(tree.Runs)))

	top := mtree.Unix(118, 0)
	ended := tree.Runs[wire.MaxRuns-2]
	require.Equal(t, top, *ended.Floor)
	require.True(t, wire.RunReached(tree.Runs, latest, mtree.MaxStamp), "it runs")
	require.True(t, wire.RunReached(tree.Runs, ended.ID, top))
	require.False(t, wire.RunReached(tree.Runs, ended.ID, top.Add(1)), "it ended below")
	require.False(t, wire.RunReached(tree.Runs, "00000000000000ff", mtree.MinStamp), "not known")

	// A tree of a version that noted no run has none to end.
	old := state.Tree{}
	old.BeginRun(top)
	require.Len(t, old.Runs, 1)
	require.Nil(t, old.Runs[0].Floor)
}

func TestAt(t *testing.T) {
	for _, c := range []struct {
		role       state.Role
		base, path string
		want       string
	}{
		{state.Source, "", "", "/"}, {state.Source, "", "a/b", "/a/b"}, {state.Copy, "/", "a", "/a"}, {state.Copy, "/a", "", "/a"},
		{state.Copy, "/a", "b", "/a/b"}, {state.Copy, "", "b", ""}, {state.Source, "/a", "b", "/a/b"},
	} {
		tree := state.Tree{Role: c.role, Path: c.base}
		require.Equal(t, c.want, tree.At(c.path))
	}
}

func TestMarker(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	_, err := state.OpenMarker(d, "")
	require.ErrorIs(t, err, fs.ErrNotExist)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	_, err = m.ReadTree()
	require.ErrorIs(t, err, state.ErrNoTree)

	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree := state.Tree{Format: 1, ID: state.NewTreeID(), Epoch: 1, Role: state.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	got, err := m.ReadTree()
	require.NoError(t, err)
	require.Equal(t, tree, got)
	noted, proven, err := state.Noted(d)
	require.NoError(t, err)
	require.True(t, proven, "the id is kept a second time")
	require.Equal(t, tree.ID, noted.ID)
	require.True(t, got.BoundTo(root))
	other := root
	other.Node.Ino++
	require.False(t, got.BoundTo(other))
	other = root
	other.BTime = other.BTime.Add(1)
	require.False(t, got.BoundTo(other), "the same inode number of another life")

	for name, mode := range map[string]os.FileMode{".tidemark": os.ModeDir | 0o755, ".tidemark/tree": 0o644, ".tidemark/.gitignore": 0o644} {
		info, err := os.Stat(top + "/" + name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), "%s whatever the umask", name)
	}

	disktest.Write(t, top+"/.tidemark/tree", `{"format": 99, "id": "`+tree.ID+`"}`)
	_, err = m.ReadTree()
	require.ErrorIs(t, err, state.ErrNewerFormat)
}

// Between the time that a clock was set back to and the highest one that it had shown, a stamp may have
// come twice. What was so before stays so: a second time it may be set back less far.
func TestStampsThatMayHaveComeTwice(t *testing.T) {
	tree := state.Tree{}
	twice := func(from, to int64) {
		t.Helper()
		for sec, is := range map[int64]bool{from - 1: false, from: true, (from + to) / 2: true, to: true, to + 1: false} {
			require.Equal(t, is, tree.Again.Has(mtree.Unix(sec, 0)), sec)
		}
	}
	require.False(t, tree.Again.Has(mtree.Unix(150, 0)), "it was never set back")
	tree.SetBack(mtree.Unix(100, 0), mtree.Unix(200, 0))
	twice(100, 200)
	tree.SetBack(mtree.Unix(150, 0), mtree.Unix(180, 0))
	twice(100, 200)
	tree.SetBack(mtree.Unix(50, 0), mtree.Unix(250, 0))
	twice(50, 250)
}
