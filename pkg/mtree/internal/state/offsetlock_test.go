package state_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/state"
)

// A number is announced until it is withdrawn, 0 like any other. A read lock, which any reader can set,
// announces nothing.
func TestANumberThatIsAnnounced(t *testing.T) {
	path := t.TempDir() + "/f"
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	open := func() int {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return int(f.Fd())
	}
	ours, theirs, reader := open(), open(), open()
	is := func(want int64, announced bool) {
		t.Helper()
		n, ok, err := state.LockedOffset(reader)
		require.NoError(t, err)
		require.Equal(t, announced, ok)
		require.Equal(t, want, n)
	}
	is(0, false)
	for _, n := range []int64{0, 7} {
		require.NoError(t, state.LockOffset(ours, n))
		is(n, true)
		require.NoError(t, state.UnlockOffset(ours, n))
		is(0, false)
	}
	require.NoError(t, unix.FcntlFlock(uintptr(theirs), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 5, Len: 1}))
	is(0, false)
	require.NoError(t, state.LockOffset(ours, 8))
	require.NoError(t, state.LockOffset(ours, 9))
	require.NoError(t, state.UnlockOffsets(ours))
	is(0, false)

	_, ok, err := state.LockedOffset(-1)
	require.Equal(t, unix.EBADF, err)
	require.False(t, ok)
	require.Equal(t, unix.EBADF, state.UnlockOffsets(-1), "a number that stays is told")
}
