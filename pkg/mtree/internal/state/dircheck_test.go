package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
)

// A --state-dir does not lie in the tree, whatever leads there.
func TestCheckDir(t *testing.T) {
	top := t.TempDir()
	tree := filepath.Join(top, "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(tree, "a/b"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(top, "out"), 0o755))
	require.NoError(t, os.Symlink(tree+"/a", filepath.Join(top, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o644))
	root := openRoot(t, tree)
	t.Chdir(tree)
	for dir, within := range map[string]bool{
		"": false, top: false, top + "/out": false, top + "/out/new/": false, top + "/file": false, top + "/none/new": false, "../out": false,
		tree: true, tree + "/": true, tree + "/a/b": true, tree + "/new": true, tree + "/a/new//": true, top + "/link": true, top + "/link/new": true, "new": true, "a": true,
	} {
		err := CheckDir(root, dir, false)
		require.Equal(t, within, errors.Is(err, ErrWithin), "%q: %v", dir, err)
		require.Equal(t, within, err != nil, "%q: %v", dir, err)
	}
	closed := disk.NewDir(1<<20, "closed")
	require.ErrorIs(t, CheckDir(closed, top+"/out", false), unix.EBADF, "nobody knows whether it lies there")
}

// A mount is recorded with its path, and with its place only if the tree goes on there.
func TestMountAt(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(top, "a\tb"), 0o755))
	root := openRoot(t, top)
	place, err := PlaceOf(openRoot(t, filepath.Join(top, "a\tb")))
	require.NoError(t, err)
	require.Equal(t, Mount{Path: "a%09b", Place: place}, MountAt(root, "a\tb", true))
	require.Equal(t, Mount{Path: "a%09b"}, MountAt(root, "a\tb", false))
	require.Equal(t, Mount{Path: "none"}, MountAt(root, "none", true))
}

// A place has the file system's own identity; else type and source of its mount; else the
// device.
func TestPlaceWithoutAFileSystem(t *testing.T) {
	k, m := newFaulty(t)
	root, err := RootOf(m.root)
	require.NoError(t, err)
	require.NotEmpty(t, root.FS)
	place := func() string {
		place, err := PlaceOf(m.root)
		require.NoError(t, err)
		return place
	}
	require.True(t, strings.HasSuffix(place(), " "+root.FS))
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, "statfs") || strings.HasPrefix(call, "proc") {
			return unix.EIO
		}
		return nil
	}
	require.True(t, strings.HasSuffix(place(), fmt.Sprint(" ", root.Node.Dev)))
}
