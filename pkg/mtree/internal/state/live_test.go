package state_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/state"
)

// A marker directory alone makes no border of another tree, nor does a lock that
// anybody can set who may read the file.
func TestIsLiveTree(t *testing.T) {
	top := t.TempDir()
	d := openRoot(t, top)
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
