package state

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// A lock file with other names, as cp -l leaves it, can be locked, but its mode is not ours
// to change.
func TestALockWithOtherNames(t *testing.T) {
	top, m := newMarker(t)
	require.NoError(t, os.WriteFile(filepath.Join(top, "other"), []byte("text"), 0o600))
	require.NoError(t, os.Link(filepath.Join(top, "other"), filepath.Join(top, mtree.MarkerName, lockName)))
	lock, err := m.Lock()
	require.NoError(t, err)
	held, err := m.Locked()
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, lock.Unlock())
	info, err := os.Stat(filepath.Join(top, "other"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, "text", read(t, filepath.Join(top, "other")))
}

// Nor is it where the disk does not tell how many names the file has.
func TestALockWithNamesUnknown(t *testing.T) {
	k, m := newFaulty(t)
	require.NoError(t, k.Shell.Write("/tree/other", "text"))
	require.NoError(t, k.Shell.Link("/tree/other", "/tree/.tidemark/lock"))
	for n := range 5 {
		fd, err := k.Kernel.Openat(m.root.FD(), "other", unix.O_RDONLY, 0)
		require.NoError(t, err)
		require.NoError(t, k.Kernel.Fchmodat(fd, "", 0o600, unix.AT_EMPTY_PATH))
		k.RefuseNth("statx lock", n, unix.EIO)
		if lock, err := m.Lock(); err == nil {
			require.NoError(t, lock.Unlock())
		}
		info, err := disk.StatFD(fd)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode&0o777)
	}
}

// Nothing but a file is a lock or a beacon: what else has their names says that nobody has
// one. Its place may be taken by a file of ours.
func TestWhatIsNoLock(t *testing.T) {
	top, m := newMarker(t)
	for _, name := range []string{lockName, beaconName} {
		at := filepath.Join(top, mtree.MarkerName, name)
		for _, put := range []func() error{
			func() error { return os.Symlink("nowhere", at) },
			func() error { return os.Symlink(top, at) },
			func() error { return unix.Mkfifo(at, 0o644) },
			func() error { return os.Mkdir(at, 0o755) },
		} {
			require.NoError(t, put())
			held, err := m.Locked()
			require.NoError(t, err)
			require.False(t, held)
			n, err := m.Announced()
			require.NoError(t, err)
			require.Zero(t, n)
			require.NoError(t, os.Remove(at))
		}
	}
}

// A lock is still in its marker until its name is gone or that of another file.
func TestALockThatIsReplaced(t *testing.T) {
	top, m := newMarker(t)
	lock, err := m.Lock()
	require.NoError(t, err)
	defer lock.Unlock()
	at := filepath.Join(top, mtree.MarkerName, lockName)
	require.True(t, lock.StillIn(m))
	require.NoError(t, os.Rename(at, at+".old"))
	require.False(t, lock.StillIn(m))
	require.NoError(t, os.WriteFile(at, nil, 0o644))
	require.False(t, lock.StillIn(m))
	require.NoError(t, os.Rename(at+".old", at))
	require.True(t, lock.StillIn(m))
}

// Where directories cannot be locked, as on NFS, the lock in the marker alone keeps others
// away. Some systems say EACCES of a lock that is taken.
func TestOneLockWithoutTheRoots(t *testing.T) {
	k, m := newFaulty(t)
	k.Refuse("flock tree", unix.ENOLCK, -1)
	lock, err := m.Lock()
	require.NoError(t, err)
	open := len(k.Open)
	_, err = m.Lock()
	require.ErrorIs(t, err, ErrLocked)
	require.Len(t, k.Open, open)
	require.NoError(t, lock.Unlock())
	require.Len(t, k.Open, open-1)

	k.Refuse("fcntl lock", unix.EACCES, 1)
	_, err = m.Lock()
	require.ErrorIs(t, err, ErrLocked)
	k.Refuse("open lock", unix.EACCES, 1)
	_, err = m.Lock()
	require.NotErrorIs(t, err, ErrLocked)
	require.ErrorIs(t, err, unix.EACCES)

	// What failed in the marker leaves the root to others.
	other, err := CreateMarker(m.root, "/other")
	require.NoError(t, err)
	k.Refuse("fcntl lock", unix.EIO, 1)
	_, err = m.Lock()
	require.ErrorIs(t, err, unix.EIO)
	lock, err = other.Lock()
	require.NoError(t, err)
	open = len(k.Open)
	_, err = m.Lock()
	require.ErrorIs(t, err, ErrLocked)
	require.Len(t, k.Open, open)
	require.NoError(t, lock.Unlock())
	require.NoError(t, other.Close())
}

// A beacon announces no number below 1, and one that cannot be announced leaves the earlier
// one and is tried again.
// It was taken for announced: the earlier number stayed locked, and others read it for as
// long as the mirror ran.
func TestANumberThatIsNotAnnounced(t *testing.T) {
	k, m := newFaulty(t)
	b, err := m.CreateBeacon()
	require.NoError(t, err)
	announced := func() int64 {
		n, err := m.Announced()
		require.NoError(t, err)
		return n
	}
	for _, n := range []int64{0, -5} {
		require.NoError(t, b.Announce(n))
		require.Zero(t, announced())
	}
	require.NoError(t, b.Announce(7))
	for _, n := range []int64{0, -5} {
		require.NoError(t, b.Announce(n))
		require.EqualValues(t, 7, announced())
	}
	k.Refuse("fcntl confirmed", unix.ENOLCK, 1)
	require.ErrorIs(t, b.Announce(9), unix.ENOLCK)
	require.EqualValues(t, 7, announced())
	require.NoError(t, b.Announce(9))
	require.EqualValues(t, 9, announced())
	require.NoError(t, b.Announce(1<<40))
	require.EqualValues(t, 1<<40, announced())
}

// A child between fork(2) and execve(2) has all descriptors: it keeps neither a root locked
// nor a number announced.
func TestClosingBesideAFork(t *testing.T) {
	top, m := newMarker(t)
	lock, err := m.Lock()
	require.NoError(t, err)
	b, err := m.CreateBeacon()
	require.NoError(t, err)
	require.NoError(t, b.Announce(5))
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	copies := 0
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(target, top) {
			var number int
			_, err := fmt.Sscan(fd.Name(), &number)
			require.NoError(t, err)
			child, err := syscall.Dup(number)
			require.NoError(t, err)
			defer syscall.Close(child)
			copies++
		}
	}
	require.GreaterOrEqual(t, copies, 4, "root, marker, lock and beacon")
	require.NoError(t, lock.Unlock())
	require.NoError(t, b.Close())
	n, err := m.Announced()
	require.NoError(t, err)
	require.Zero(t, n)
	other, err := CreateMarker(m.root, t.TempDir())
	require.NoError(t, err)
	defer other.Close()
	again, err := other.Lock()
	require.NoError(t, err)
	require.NoError(t, again.Unlock())
}
