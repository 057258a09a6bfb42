package lister_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/lister"
)

// Two directories were exchanged while one of them, or one below it, was open to be listed. One
// batch stamped both, with one value. So what was read of the one, under the path of the other,
// had the stamp of the other: a reader was complete without the changes of that one, for good.
func TestADirectoryThatMovedAway(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.MkdirAll(top+"/a/x", 0o755))
	require.NoError(t, os.MkdirAll(top+"/b/x", 0o755))
	disktest.Write(t, top+"/a/x/f", "one")
	root := disktest.OpenRoot(t, top)
	l := lister.Lister{Root: root}
	read := func(d *disk.Dir) bool {
		listing, err := l.Read(d, "a/x")
		require.NoError(t, err)
		return !listing.Hot
	}
	open := func() *disk.Dir {
		d, err := root.OpenDirPath("a/x", false)
		require.NoError(t, err)
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	d := open()
	require.True(t, read(d))
	require.NoError(t, os.Rename(top+"/a", top+"/c"))
	require.False(t, read(d), "nothing is at its path")
	require.NoError(t, os.Rename(top+"/b", top+"/a"))
	require.NoError(t, os.Chtimes(top+"/c/x", mtree.Unix(1000, 0).Time(), mtree.Unix(1000, 0).Time()))
	require.NoError(t, os.Chtimes(top+"/a/x", mtree.Unix(1000, 0).Time(), mtree.Unix(1000, 0).Time()))
	require.False(t, read(d), "another directory is")
	require.True(t, read(open()))
	l.Root = nil
	require.True(t, read(d))

	l.Root = root
	listing, err := l.Read(root, "")
	require.NoError(t, err)
	require.False(t, listing.Hot, "no path leads to the root")
}
