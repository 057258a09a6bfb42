package handles

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Each of thousands of handles waited a tenth of a second for memory, one after the other: watch could
// not be stopped meanwhile.
func TestMemoryThatStaysShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, calls := NewResolver(-1), 0
		failing := 1 << 30
		r.openAt = func(int, unix.FileHandle, int) (int, error) {
			if calls++; calls <= failing {
				return -1, unix.ENOMEM
			}
			return 7, nil
		}
		id := string(make([]byte, FSIDSize+HeaderSize+8))
		for range 2 {
			r.Begin()
			began := time.Now()
			for range 1000 {
				_, err := r.openBy(-1, id, 0)
				require.ErrorIs(t, err, unix.ENOMEM)
			}
			require.Less(t, time.Since(began), time.Second)
			require.Greater(t, time.Since(began), maxHandleWait, "it may be short for a moment only")
		}
		r.Begin()
		calls, failing = 0, 5
		fd, err := r.openBy(-1, id, 0)
		require.NoError(t, err)
		require.Equal(t, 7, fd)
	})
}
