package state_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// marked makes a tree with a tree file.
func marked(t *testing.T, top string, tree state.Tree) (*disk.Dir, *state.Marker, state.Tree) {
	d := openRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree.ID = state.NewTreeID()
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	return d, m, tree
}

// What the root's attribute says of a tree outlives .tidemark, and counts for that
// directory alone: copies carry the attribute, too.
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
	other := openRoot(t, top+".copy")
	for _, at := range []*disk.Dir{d, other} {
		require.NoError(t, os.RemoveAll(filepath.Join(at.Path(), mtree.MarkerName)))
		noted, proven := state.Noted(at)
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
	noted, proven := state.Noted(d)
	require.False(t, proven)
	require.Equal(t, state.Tree{ID: tree.ID}, noted)
	for _, bad := range []string{"", "x", `{"format":99,"id":"` + tree.ID + `"}`, `{"id":"x"}`} {
		require.NoError(t, syscall.Setxattr(top, "user.tidemark.id", []byte(bad), 0))
		noted, proven := state.Noted(d)
		require.False(t, proven)
		require.Empty(t, noted.ID, bad)
	}
}

// A snapshot of a root has its inode number and its birth time.
func TestBinding(t *testing.T) {
	root := state.Root{FS: "one"}
	root.Node, root.BTime = disk.Node{Dev: 1, Ino: 256}, mtree.Unix(5, 0)
	var tree state.Tree
	tree.Bind(root)
	for name, c := range map[string]struct {
		change func(r *state.Root)
		bound  bool
	}{
		"itself":                            {func(*state.Root) {}, true},
		"after a reboot":                    {func(r *state.Root) { r.Node.Dev = 2 }, true},
		"a snapshot":                        {func(r *state.Root) { r.FS = "two" }, false},
		"another inode":                     {func(r *state.Root) { r.Node.Ino++ }, false},
		"another life of the inode":         {func(r *state.Root) { r.BTime = mtree.Unix(6, 0) }, false},
		"no birth time":                     {func(r *state.Root) { r.BTime = mtree.Stamp{} }, true},
		"file system unknown":               {func(r *state.Root) { r.FS = "" }, true},
		"neither":                           {func(r *state.Root) { r.FS, r.BTime = "", mtree.Stamp{} }, true},
		"neither, and another device":       {func(r *state.Root) { r.FS, r.BTime, r.Node.Dev = "", mtree.Stamp{}, 2 }, false},
		"file system unknown, another life": {func(r *state.Root) { r.FS, r.BTime = "", mtree.Unix(6, 0) }, false},
	} {
		other := root
		c.change(&other)
		require.Equal(t, c.bound, tree.BoundTo(other), name)
	}
	old := tree // of a version that did not know file systems
	old.FS = ""
	require.True(t, old.BoundTo(root))
}

// An epoch follows the clock, so that what was counted apart never meets, and
// never falls behind itself.
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

// The lock is on the root itself, too: two markers are no two trees. Who only
// reads the root may take it, and a program that lost its marker keeps it.
func TestOneLockForARoot(t *testing.T) {
	d := openRoot(t, t.TempDir())
	one, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer one.Close()
	two, err := state.CreateMarker(d, filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	defer two.Close()
	lock, err := one.Lock()
	require.NoError(t, err)
	_, err = two.Lock()
	require.ErrorIs(t, err, state.ErrLocked)
	require.NoError(t, lock.Move(two))
	held, err := one.Locked()
	require.NoError(t, err)
	require.False(t, held)
	held, err = two.Locked()
	require.NoError(t, err)
	require.True(t, held)
	_, err = one.Lock()
	require.ErrorIs(t, err, state.ErrLocked)
	require.NoError(t, lock.Unlock())
	lock, err = one.Lock()
	require.NoError(t, err)
	require.NoError(t, lock.Unlock())
}

func TestSourceName(t *testing.T) {
	for source, want := range map[string]string{
		"http://user:secret@Host:8077/a/": "http://host:8077/a",
		"https://host":                    "https://host",
		"http://host/":                    "http://host",
		"http://host/A%20b/":              "http://host/A%20b",
		"/srv/tree/":                      "/srv/tree",
		"tree":                            "tree",
		"/":                               "/",
		"/odd:@name/":                     "/odd:@name",
	} {
		require.Equal(t, want, state.SourceName(source))
	}
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

// A place outlives what is below it, and is another where something is mounted.
func TestPlace(t *testing.T) {
	one, two := openRoot(t, t.TempDir()), openRoot(t, t.TempDir())
	a, err := state.PlaceOf(one)
	require.NoError(t, err)
	write(t, one.Path()+"/f", "x")
	b, err := state.PlaceOf(one)
	require.NoError(t, err)
	require.Equal(t, a, b)
	b, err = state.PlaceOf(two)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	proc := openRoot(t, "/proc/self/fd")
	where, err := state.PlaceOf(proc)
	require.NoError(t, err)
	require.Contains(t, where, "proc ", "type and source of its mount, for want of anything that lasts")
}
