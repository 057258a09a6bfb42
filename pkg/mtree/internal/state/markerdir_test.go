package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// newMarker makes a marker in a directory of its own.
func newMarker(t *testing.T) (top string, m *Marker) {
	top = t.TempDir()
	m, err := CreateMarker(openRoot(t, top), "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return top, m
}

// Others see what is in a marker, whatever the umask is: they ask for lock, status and
// beacon.
func TestOthersMayAsk(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top, m := newMarker(t)
	lock, err := m.Lock()
	require.NoError(t, err)
	defer lock.Unlock()
	beacon, err := m.CreateBeacon()
	require.NoError(t, err)
	defer beacon.Close()
	status, err := m.CreateStatus()
	require.NoError(t, err)
	defer status.Close()
	require.NoError(t, m.WriteStamps(nil, 1, false))
	require.NoError(t, m.WriteUnread(nil, 1, true))
	for _, name := range []string{"lock", "confirmed", "status.json", "stamps", "unread", ".gitignore"} {
		info, err := os.Stat(filepath.Join(top, mtree.MarkerName, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode().Perm(), name)
	}
}

// An error of the disk says nothing of who has a lock, or of what was replaced.
func TestWhatTheDiskDoesNotTell(t *testing.T) {
	k, m := newFaulty(t)
	lock, err := m.Lock()
	require.NoError(t, err)
	status, err := m.CreateStatus()
	require.NoError(t, err)
	for _, call := range []string{"open lock", "fcntl lock"} {
		k.Refuse(call, unix.EIO, 1)
		held, err := m.Locked()
		require.ErrorIs(t, err, unix.EIO)
		require.False(t, held)
		k.Refuse(call, unix.EIO, 1)
		require.False(t, IsLiveTree(m.root))
	}
	require.True(t, IsLiveTree(m.root))
	k.Refuse("statx lock", unix.EIO, -1)
	require.True(t, lock.StillIn(m))
	for n := range 2 { // the descriptor, and the name
		k.RefuseNth("statx status.json", n+1, unix.EIO)
		require.True(t, status.StillIn(m))
		k.RefuseNth("statx status.json", n+1, unix.EIO)
		require.False(t, status.Displaced(m))
	}
	k.Refuse("statx .tidemark", unix.EIO, 1)
	require.True(t, m.IsThere())
	k.RefuseNth("statx .tidemark", 2, unix.EIO)
	require.True(t, m.IsThere())
	k.Refuse("statx tree", unix.EIO, -1) // it is not even there
	require.True(t, m.Has("tree"))

	outside, err := CreateMarker(m.root, "/state")
	require.NoError(t, err)
	k.Refuse("statx state", unix.EIO, 1)
	require.True(t, outside.IsThere())

	// On some FUSE file systems an open file that was removed cannot be looked at.
	k.Refuse("statx status.json", unix.ENOENT, 2)
	require.False(t, status.StillIn(m))
	k.Refuse("", nil, 0)
	require.NoError(t, k.Shell.Rename("/tree/.tidemark/status.json", "/tree/.tidemark/moved", 0))
	require.True(t, status.Displaced(m))
	k.Refuse("statx status.json", unix.EIO, 1)
	require.False(t, status.Displaced(m), "its own file")
	require.NoError(t, k.Shell.Write("/tree/.tidemark/status.json", ""))
	k.Refuse("statx status.json", unix.EIO, 1)
	require.False(t, status.Displaced(m), "its own file, beside another one")
}

// A marker is there until its name is gone or that of another directory; a --state-dir
// until it is removed.
func TestMarkerIsThere(t *testing.T) {
	top, m := newMarker(t)
	at := filepath.Join(top, mtree.MarkerName)
	require.True(t, m.IsThere())
	require.NoError(t, os.Rename(at, at+".old"))
	require.False(t, m.IsThere())
	require.NoError(t, os.Mkdir(at, 0o755))
	require.False(t, m.IsThere())
	require.NoError(t, os.Remove(at))
	require.NoError(t, os.Rename(at+".old", at))
	require.True(t, m.IsThere())

	outside := filepath.Join(t.TempDir(), "state")
	s, err := CreateMarker(m.root, outside)
	require.NoError(t, err)
	defer s.Close()
	require.True(t, s.IsThere())
	require.NoError(t, os.Rename(outside, outside+".old"))
	require.True(t, s.IsThere(), "it is asked by its descriptor")
	require.NoError(t, os.Remove(outside+".old"))
	require.False(t, s.IsThere())
}

// A --state-dir that is there is taken as it is. One is made where its directory is.
func TestAStateDirOfOthers(t *testing.T) {
	root := openRoot(t, t.TempDir())
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	m, err := CreateMarker(root, dir)
	require.NoError(t, err)
	defer m.Close()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, names)
	_, err = CreateMarker(root, dir+"/none/state")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "mkdir")
}

// A file that has the name of the marker is not followed, and no root is read past it.
func TestAMarkerInTheWay(t *testing.T) {
	top, m := newMarker(t)
	require.NoError(t, m.WriteTree(Tree{ID: NewTreeID(), Inode: selfOf(t, m).Node.Ino}))
	_, err := OwnTree(m.root)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(top, mtree.MarkerName)))
	require.NoError(t, os.WriteFile(filepath.Join(top, mtree.MarkerName), nil, 0o644))
	for _, open := range []func() error{
		func() error { _, err := OpenMarker(m.root, ""); return err },
		func() error { _, err := CreateMarker(m.root, ""); return err },
		func() error { _, err := OwnTree(m.root); return err },
	} {
		require.ErrorIs(t, open(), ErrInTheWay)
	}
}

func selfOf(t *testing.T, m *Marker) disk.Info {
	info, err := m.root.Self()
	require.NoError(t, err)
	return info
}

func TestMarkerHas(t *testing.T) {
	_, m := newMarker(t)
	require.NoError(t, WriteFile(m.dir, "a", nil))
	require.NoError(t, WriteFile(m.dir, "b", nil))
	require.True(t, m.Has())
	require.True(t, m.Has("a", "b"))
	require.False(t, m.Has("a", "none"))
	require.False(t, m.Has("none", "a"))
}
