package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// The log of own writes has the last of them, and not much more, however it was ended. A
// record that was cut short is none.
func TestOwnWriteLog(t *testing.T) {
	top, m := newMarker(t)
	next := uint64(0)
	writes := func(n int) (all []OwnWrite) {
		for range n {
			next++
			all = append(all, OwnWrite{Inode: next, MTime: mtree.Unix(int64(next)-5, 999_999_999), CTime: mtree.Unix(1<<40, int64(next)), Place: 1<<63 - next})
		}
		return all
	}
	var want []OwnWrite // the last ones
	for _, batches := range [][]int{{}, {1}, {2, 3}, {maxOwnWrites - 5, 5, 1}, {maxOwnWrites}, {maxOwnWrites + 7}, {1}} {
		log, have, err := m.OpenOwnWrites()
		require.NoError(t, err)
		require.LessOrEqual(t, len(have), 2*maxOwnWrites)
		found := map[OwnWrite]bool{}
		for _, w := range have {
			found[w] = true
		}
		for _, w := range want {
			require.True(t, found[w], "%+v", w)
		}
		for _, n := range batches {
			all := writes(n)
			require.NoError(t, log.Append(all))
			want = append(want, all...)
			want = want[max(0, len(want)-maxOwnWrites):]
			for _, name := range ownWriteNames {
				require.LessOrEqual(t, len(read(t, filepath.Join(top, mtree.MarkerName, name))), ownWriteSize*maxOwnWrites)
			}
		}
		require.NoError(t, log.Close())
		cut := filepath.Join(top, mtree.MarkerName, ownWriteNames[log.now])
		require.NoError(t, os.WriteFile(cut, []byte(read(t, cut)+strings.Repeat("x", ownWriteSize-1)), 0o644))
	}
}

// One file of the log is filled to its last record before the other is emptied.
func TestOwnWritesFillAFile(t *testing.T) {
	top, m := newMarker(t)
	log, _, err := m.OpenOwnWrites()
	require.NoError(t, err)
	defer log.Close()
	sizes := func() (all []int) {
		for _, i := range []int{log.now, 1 - log.now} {
			all = append(all, len(read(t, filepath.Join(top, mtree.MarkerName, ownWriteNames[i])))/ownWriteSize)
		}
		return all
	}
	require.NoError(t, log.Append(make([]OwnWrite, 1)))
	require.NoError(t, log.Append(make([]OwnWrite, maxOwnWrites-1)))
	require.Equal(t, []int{maxOwnWrites, 0}, sizes())
	require.NoError(t, log.Append(make([]OwnWrite, 2)))
	require.Equal(t, []int{2, maxOwnWrites}, sizes())
}
