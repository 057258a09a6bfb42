package state_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
)

func TestLock(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	locked := func() bool {
		held, err := m.Locked()
		require.NoError(t, err)
		return held
	}
	require.False(t, locked())
	lock, err := m.Lock()
	require.NoError(t, err)
	require.True(t, locked())
	_, err = m.Lock()
	require.ErrorIs(t, err, state.ErrLocked)
	require.True(t, lock.StillIn(m))
	require.NoError(t, os.Remove(top+"/.tidemark/lock"))
	require.False(t, lock.StillIn(m))
	require.NoError(t, lock.Unlock())
	require.False(t, locked())
}

// A child process that was forked and has not started its program yet has a copy of the
// descriptor. It must not keep what was unlocked: tests that start programs found watch
// "already running" when it had just ended.
func TestUnlockBesideAFork(t *testing.T) {
	top := t.TempDir()
	m, err := state.CreateMarker(disktest.OpenRoot(t, top), "")
	require.NoError(t, err)
	defer m.Close()
	lock, err := m.Lock()
	require.NoError(t, err)
	copies := 0
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); target == top+"/.tidemark/lock" {
			number, err := strconv.Atoi(fd.Name())
			require.NoError(t, err)
			child, err := syscall.Dup(number)
			require.NoError(t, err)
			defer syscall.Close(child)
			copies++
			break
		}
	}
	require.Equal(t, 1, copies)
	require.NoError(t, lock.Unlock())
	again, err := m.Lock()
	require.NoError(t, err)
	require.NoError(t, again.Unlock())
}

// The lock is on the root itself, too: a tree with two markers is still one tree. It
// needs no right to write to the root, and a program whose marker was deleted keeps it.
func TestOneLockForARoot(t *testing.T) {
	d := disktest.OpenRoot(t, t.TempDir())
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

// A marker alone does not prove that a tree is live. Nor does a read lock, which
// everybody can set who is allowed to read the file.
func TestIsLiveTree(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	require.False(t, state.IsLiveTree(d), "no marker")
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	require.False(t, state.IsLiveTree(d), "no lock")
	lock, err := m.Lock()
	require.NoError(t, err)
	require.True(t, state.IsLiveTree(d))
	require.NoError(t, lock.Unlock())
	require.False(t, state.IsLiveTree(d), "its program has ended")

	file, err := os.Open(top + "/.tidemark/lock")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	require.False(t, state.IsLiveTree(d), "a reader's lock")

	require.NoError(t, os.RemoveAll(top+"/.tidemark"))
	require.NoError(t, os.Symlink(t.TempDir(), top+"/.tidemark"))
	require.False(t, state.IsLiveTree(d), "a symlink")
}

// A program that watch or mirror started (--exec) does not inherit the lock: after a kill -9
// it would keep the tree locked for as long as it runs.
func TestLockIsNotInherited(t *testing.T) {
	top := t.TempDir()
	m, err := state.CreateMarker(disktest.OpenRoot(t, top), "")
	require.NoError(t, err)
	defer m.Close()
	lock, err := m.Lock()
	require.NoError(t, err)
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "->")
	require.NotContains(t, string(out), top)
	require.NoError(t, lock.Unlock())
}
