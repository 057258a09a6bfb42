package wire

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEntries(t *testing.T) {
	for _, e := range []Entries{{0, 1, 0}, {11478, 1324, 127562029}, {1 << 61, 1 << 60, math.MaxInt64 >> 1}} {
		read, ok := ParseEntries(e.String())
		require.True(t, ok)
		require.Equal(t, e, read)
	}
	read, ok := ParseEntries("1 2 3 1706932800.5 x")
	require.True(t, ok, "what a later version adds does not matter")
	require.Equal(t, Entries{1, 2, 3}, read)
	for _, bad := range []string{"", "1 2", "1  2 3", "-1 2 3", "1 2 -3", "1 0 3", "1 2 x", "a b c", " 1 2 3", "1 2 9223372036854775807", "1,2,3", "1 2 99999999999999999999"} {
		read, ok := ParseEntries(bad)
		require.False(t, ok && read.Directories > 0, bad)
	}
}
