package records

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func TestRecordText(t *testing.T) {
	for _, bad := range []string{"", "1.0 2.0", "1.0 2.0 a b", "x 2.0 a", "1.0 x a", "1 1 - 0/", "1 1 - x/e", "1 1 - 5", "1 1 - -1/e", "1 1 - 1/e 2"} {
		_, ok := parse(bad)
		require.False(t, ok, "%q", bad)
	}
	none := Record{Stamp: mtree.Unix(-1, 5), Now: mtree.Unix(3, 0)}
	got, ok := parse(none.String())
	require.True(t, ok)
	require.Equal(t, none, got)
	text := Record{ID: "i", Excluded: 12, Fingerprint: "0a1b2c"}.String()
	require.True(t, strings.HasSuffix(text, " i 12/0a1b2c"), text)
	back, ok := parse(text)
	require.True(t, ok)
	require.Equal(t, text, back.String())
}

// A directory of which something had begun to change counted as complete if its time was
// one of those that some file system shows for all that lie before: 1970, 1980 or the year
// 1901. Serve published it as finished. Sources have many such times, from archives.
func TestUnfinishedIsNotStored(t *testing.T) {
	for _, sec := range []int64{0, 315_532_800, math.MinInt32} {
		at := mtree.Unix(sec, 0)
		for _, ns := range []time.Duration{0, 1, 1<<UnfinishedBits - 1} {
			r := Record{Stamp: mtree.MinStamp.Add(ns)}
			require.True(t, r.IsUnfinished())
			require.False(t, r.IsStored(at))
		}
		for _, stamp := range []mtree.Stamp{at, at.Add(5), mtree.Unix(sec-1, 0), mtree.MinStamp.Add(1 << UnfinishedBits)} {
			r := Record{Stamp: stamp}
			require.False(t, r.IsUnfinished())
			require.True(t, r.IsStored(at), stamp)
		}
		require.False(t, Record{Stamp: at.Add(time.Hour)}.IsStored(at))
	}
}
