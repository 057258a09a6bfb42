package directory

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// A file that shrank while it was read, each time, failed and kept all deletions
// beside it from being made; one that grows was kept as read.
func TestAFileThatShrinksIsKeptAsRead(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte(strings.Repeat("x", 1<<20)), 0o644))
	src, err := Open(Config{Path: path})
	require.NoError(t, err)
	defer src.Close()
	info, err := src.Dir().Stat("f")
	require.NoError(t, err)
	e := lister.EntryOf("f", info)
	const tries = 3 // those of source.EachFile
	left := int64(1 << 20)
	var got []int64
	var last error
	for _, f := range src.Fetch(t.Context(), []source.Wanted{{Entry: &e, Path: "f"}}) {
		require.NoError(t, f.Err)
		n, err := f.Body.Read(make([]byte, 1000))
		require.NoError(t, err)
		left /= 2
		require.NoError(t, os.Truncate(filepath.Join(path, "f"), left))
		var rest int64
		rest, last = io.Copy(io.Discard, f.Body)
		got = append(got, int64(n)+rest)
		require.Equal(t, len(got) == tries, f.Got.Hot && f.Got.Size < 0)
	}
	require.NoError(t, last)
	require.Equal(t, left, got[tries-1])
}

// Regression: a write(2) sets the times of its file when it begins. What was read while it was
// under way was half of it, and was taken for the version with these times.
func TestAWriteUnderWay(t *testing.T) {
	const size = 96 << 20
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte(strings.Repeat("a", size)), 0o644))
	src, err := Open(Config{Path: path})
	require.NoError(t, err)
	defer src.Close()
	f, err := os.OpenFile(filepath.Join(path, "f"), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for _, content := range []string{"b", "c", "d"} {
		before, err := src.Dir().Stat("f")
		require.NoError(t, err)
		text, written := []byte(strings.Repeat(content, size)), make(chan error, 1)
		go func() {
			_, err := f.WriteAt(text, 0)
			written <- err
		}()
		info := before
		for info.CTime == before.CTime {
			info, err = src.Dir().Stat("f")
			require.NoError(t, err)
		}
		e, end := lister.EntryOf("f", info), make([]byte, 10)
		for _, f := range src.Fetch(t.Context(), []source.Wanted{{Entry: &e, Path: "f"}}) {
			require.NoError(t, f.Err)
			_, err := f.Body.(*steadyFile).ReadAt(end, size-10)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, f.Body)
			require.NoError(t, err)
		}
		require.NoError(t, <-written)
		require.Equal(t, strings.Repeat(content, 10), string(end))
	}
}

// Summing a file that takes hours ends when the program is to end.
func TestSummingEndsWithItsContext(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "huge"), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(path, "huge"), 8<<40))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = SumFiles(ctx, root, []string{"huge"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A watch that starts while the root is listed records its run before it stamps anything.
// If its stamps were taken for those of the run before, a copy would later take the source
// for one that was rolled back, or not notice that it was.
func TestARunThatBeginsMeanwhile(t *testing.T) {
	path := t.TempDir()
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	marker, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer marker.Close()
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Source, Runs: []wire.Run{{ID: "00000000000000aa"}}}
	self, err := state.RootOf(root)
	require.NoError(t, err)
	tree.Bind(self)
	require.NoError(t, marker.WriteTree(tree))
	src, err := Open(Config{Path: path})
	require.NoError(t, err)
	defer src.Close()
	src.now = func() mtree.Stamp { // the tree was read, the root is about to be listed
		tree.Runs = append(tree.Runs[:1:1], wire.Run{ID: "00000000000000bb"})
		require.NoError(t, marker.WriteTree(tree))
		return machine.Now()
	}
	got, err := src.Root(t.Context(), source.Poll{})
	require.NoError(t, err)
	require.Equal(t, tree.ID, got.Tree.ID)
	require.Equal(t, "00000000000000bb", wire.LatestRun(got.Runs))
}

// A directory that is moved away while it is open may have got the stamp of the one that is at
// its path by then.
func TestADirectoryThatMovesAway(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.Mkdir(path+"/a", 0o755))
	src, err := Open(Config{Path: path})
	require.NoError(t, err)
	defer src.Close()
	d, err := src.open("a")
	require.NoError(t, err)
	defer d.Close()
	listed, err := d.list()
	require.NoError(t, err)
	require.False(t, listed.Listing.Hot)
	require.NoError(t, os.Rename(path+"/a", path+"/b"))
	listed, err = d.list()
	require.NoError(t, err)
	require.True(t, listed.Listing.Hot)
}

// openMade opens /src of a machine in memory.
func openMade(t *testing.T, c Config) *Source {
	t.Helper()
	c.Path = "/src"
	src, err := Open(c)
	require.NoError(t, err)
	t.Cleanup(src.Close)
	return src
}

// errorOf returns the error of listing the directory at path, if that ends in a slash, or else of
// fetching the file.
func errorOf(t *testing.T, src *Source, path string) (err error) {
	t.Helper()
	if dir, is := strings.CutSuffix(path, "/"); is {
		_, err = src.List(t.Context(), dir, mtree.Stamp{})
		return err
	}
	e := mtree.Entry{Name: mtree.BaseName(path), Kind: mtree.File}
	for _, f := range src.Fetch(t.Context(), []source.Wanted{{Entry: &e, Path: path}}) {
		err = f.Err
	}
	return err
}

// Somebody closed a directory while a pass was two levels below, and opened it again. What was
// refused there counted as what may not be read, and the directories in between were complete
// without it: no stamp of theirs moved, so it never came. Only what is refused by itself, or by the
// directory that lists it, may be left out.
func TestDeniedAbove(t *testing.T) {
	for _, c := range []struct {
		closed string
		mode   uint32
		path   string // with a slash: a directory
		denied bool
	}{
		{"a", 0o700, "a/", true},
		{"a", 0o700, "a/b/", true},
		{"a", 0o700, "a/b/c/", false},
		{"a", 0o700, "a/g", true},
		{"a", 0o700, "a/b/h", false},
		{"a", 0o700, "a/b/c/f", false},
		{"a", 0o744, "a/", true},
		{"a", 0o744, "a/b/", true},
		{"a", 0o744, "a/b/c/", false},
		{"a", 0o744, "a/g", true},
		{"a", 0o744, "a/b/h", false},
		{"a/b", 0o700, "a/b/c/", true},
		{"a/b", 0o700, "a/b/h", true},
		{"a/b", 0o700, "a/b/c/f", false},
		{"a/b/c", 0o700, "a/b/c/", true},
		{"a/b/c", 0o700, "a/b/c/f", true},
		{"a/b/c", 0o711, "a/b/c/f", true},
		{"a/b/c/f", 0o600, "a/b/c/f", true},
		{"", 0o700, "top", true},
		{"", 0o700, "a/g", false},
	} {
		k := faultkernel.New(t, 1000)
		k.Make(t, "/src/a/b/c/f", "/src/a/b/h", "/src/a/g", "/src/top")
		src := openMade(t, Config{})
		require.NoError(t, k.Shell.Chmod("/src/"+c.closed, c.mode))
		err := errorOf(t, src, c.path)
		require.Error(t, err, "%+v", c)
		require.Equal(t, c.denied, errors.Is(err, source.ErrDenied), "%+v: %v", c, err)
		require.Equal(t, !c.denied, errors.Is(err, disk.ErrAbove), "%+v: %v", c, err)
	}
}

// The directory was open again before anybody could look which one it was.
func TestDeniedForAMoment(t *testing.T) {
	for _, path := range []string{"a/b/c/", "a/b/c/f"} {
		k := faultkernel.New(t, 1000)
		k.Make(t, "/src/a/b/c/f")
		src := openMade(t, Config{})
		k.Refuse("open c", unix.EACCES, 1)
		err := errorOf(t, src, path)
		require.ErrorIs(t, err, disk.ErrAbove, path)
		require.NotErrorIs(t, err, source.ErrDenied, path)
	}
}

// The ctimes of a file server are those of its clock, and are seen late: a listing of it says by how
// much they may be behind. With --cross-mounts each directory may be on another file system.
func TestTheClockOfAFileServer(t *testing.T) {
	nfs := func(st *unix.Statfs_t) { st.Type = unix.NFS_SUPER_MAGIC }
	for name, c := range map[string]struct {
		root, below func(st *unix.Statfs_t) // what the file system is, of the root and of what is listed
		crosses     bool
		behind      time.Duration
	}{
		"here":                  {},
		"on a server":           {root: nfs, below: nfs, behind: farBehind},
		"without a look at it":  {root: nfs, behind: farBehind},
		"mounted from a server": {below: nfs, crosses: true, behind: farBehind},
		"mounted from here":     {root: nfs, crosses: true},
	} {
		k := faultkernel.New(t, 1000)
		k.Make(t, "/src/d/")
		k.ShowFS = c.root
		src := openMade(t, Config{CrossMounts: c.crosses})
		k.ShowFS = c.below
		l, err := src.List(t.Context(), "d", mtree.Stamp{})
		require.NoError(t, err, name)
		require.Equal(t, c.behind, l.Behind, name)
		root, err := src.Root(t.Context(), source.Poll{})
		require.NoError(t, err, name)
		require.Equal(t, c.behind, root.Behind, name)
	}

	k := faultkernel.New(t, 0)
	k.Make(t, "/src/d/", "/other/d/")
	src := openMade(t, Config{})
	require.NoError(t, k.Shell.Rename("/src", "/away", 0))
	require.NoError(t, k.Shell.Rename("/other", "/src", 0))
	k.ShowFS = nfs
	_, err := src.Root(t.Context(), source.Poll{})
	require.ErrorIs(t, err, source.ErrOtherDirectory)
	l, err := src.List(t.Context(), "d", mtree.Stamp{})
	require.NoError(t, err)
	require.Equal(t, farBehind, l.Behind, "another directory has the path")
}
