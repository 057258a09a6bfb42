package watch_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// counted returns how much a tree says that it has.
func counted(t *testing.T, root string) *state.Entries {
	t.Helper()
	dir, err := disk.OpenRoot(root)
	require.NoError(t, err)
	defer dir.Close()
	p, err := state.ReadPublished(dir, "")
	require.NoError(t, err)
	return p.Counted()
}

// An audit counts regular files by their names, directories with the root, and bytes. What watch
// passes over does not count, nor do links and pipes. The counts are those of the last audit, with its
// time.
func TestEntriesOfATree(t *testing.T) {
	root := newTree(t, "a/b/f = 12345", "a/g = 123", "empty/", "tmp/x = 12345678")
	require.NoError(t, os.Symlink("a/g", filepath.Join(root, "l")))
	require.NoError(t, os.Link(filepath.Join(root, "a/g"), filepath.Join(root, "empty/g")))
	require.Nil(t, counted(t, root), "nobody counted yet")
	audits := make(chan struct{})
	r := start(t, watch.Config{Root: root, Exclude: []string{"tmp/"}, Audit: audits})
	first := counted(t, root)
	require.Equal(t, wire.Entries{Files: 3, Directories: 4, Bytes: 11}, first.Entries)
	require.NotNil(t, first.At)

	var lines bytes.Buffer
	require.NoError(t, watch.PrintStatus(&lines, root, ""))
	require.Contains(t, lines.String(), "\nentries: 3 files, 4 directories, 11 bytes, counted at "+first.At.String()+"\n")

	testtree.Make(t, root, "a/h = 1")
	r.sync()
	require.Equal(t, first, counted(t, root), "until the next audit")
	audits <- struct{}{}
	require.Eventually(t, func() bool { return counted(t, root).Files == 4 }, deadline, time.Millisecond)
	second := counted(t, root)
	require.Equal(t, wire.Entries{Files: 4, Directories: 4, Bytes: 12}, second.Entries)
	require.True(t, second.At.After(*first.At))
	r.stop()
	require.Equal(t, second, counted(t, root), "it stays when watch ends")

	require.NoError(t, os.Remove(filepath.Join(root, "l")))
	copied := filepath.Join(t.TempDir(), "copied")
	require.NoError(t, os.CopyFS(copied, os.DirFS(root)))
	require.Nil(t, counted(t, copied), "of a directory that came from elsewhere nobody counted anything")
}
