package directory

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
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
