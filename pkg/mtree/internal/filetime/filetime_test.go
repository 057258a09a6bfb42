package filetime

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// On ntfs-3g the probe of the ends read back the rest of a product that had
// overflowed, and every file was fetched again with every pass; on CephFS times
// before 1970 come back 2^32 seconds later, and the same happened with files of such
// times. Whatever a file system makes of a time beyond the ends, a time that Stored
// returned is kept.
func TestMeasureTimes(t *testing.T) {
	ends := func(low, high int64, out func(sec, nsec int64) (mtree.Stamp, bool)) storeFunc {
		return func(t mtree.Stamp) (mtree.Stamp, bool) {
			sec, nsec := t.Unix()
			if sec < low || sec > high {
				return out(sec, nsec)
			}
			return t, true
		}
	}
	clamp := func(low, high int64) storeFunc {
		return ends(low, high, func(sec, _ int64) (mtree.Stamp, bool) { return mtree.Unix(min(max(sec, low), high), 0), true })
	}
	for name, fs := range map[string]struct {
		store    storeFunc
		low, top int64
		wrap     int64
	}{
		"all":      {ends(math.MinInt64, math.MaxInt64, nil), math.MinInt64, math.MaxInt64, 0},
		"ext4":     {clamp(math.MinInt32, math.MaxInt32+3<<32), math.MinInt32, math.MaxInt32 + 3<<32, 0},
		"old ext4": {clamp(math.MinInt32, math.MaxInt32), math.MinInt32, math.MaxInt32, 0},
		"exfat":    {clamp(315_532_800, 4_354_819_199), 315_532_800, 4_354_819_199, 0},
		"cephfs": {ends(0, math.MaxUint32, func(sec, nsec int64) (mtree.Stamp, bool) {
			return mtree.Unix(int64(uint32(sec)), nsec), true
		}), 0, math.MaxUint32, 1 << 32},
		"signed wrap": {ends(math.MinInt32, math.MaxInt32, func(sec, nsec int64) (mtree.Stamp, bool) {
			return mtree.Unix(int64(int32(sec)), nsec), true
		}), math.MinInt32, math.MaxInt32, 1 << 32},
		"refusing": {ends(0, math.MaxUint32, func(sec, nsec int64) (mtree.Stamp, bool) { return mtree.Stamp{}, false }), 0, math.MaxUint32, 0},
		"ntfs-3g": {ends(-(1<<63)/10_000_000+11_644_473_600, (1<<63-1)/10_000_000-11_644_473_600, func(sec, nsec int64) (mtree.Stamp, bool) {
			ticks := (sec + 11_644_473_600) * 10_000_000
			return mtree.Unix(ticks/10_000_000-11_644_473_600, ticks%10_000_000*100), true
		}), -910_692_730_085, 910_692_730_085, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := Measure(1, fs.store)
			low, _ := r.Min.Unix()
			top, _ := r.Max.Unix()
			if name != "ntfs-3g" {
				require.Equal(t, fs.low, low)
				require.Equal(t, fs.top, top)
			}
			require.Equal(t, fs.wrap, r.Wrap)
			for _, sec := range []int64{
				0, 1, -1, -315_619_200, 1_000_000_000, math.MaxInt32 + 1, math.MaxUint32 + 1, -1 << 33, 1 << 34, -1 << 41, 1 << 41, math.MinInt64 / 4, math.MaxInt64 / 4,
			} {
				want := mtree.Unix(sec, 500)
				kept, ok := fs.store(r.Stored(want))
				require.True(t, ok)
				require.Equal(t, r.Stored(want), kept, "%s", want)
				if r.Wrap != 0 {
					came, _ := fs.store(want)
					require.Equal(t, came, r.Stored(want), "what others have set it to is recognised, too: %s", want)
				}
			}
		})
	}
	coarse := Range{Granule: 2 * time.Second, Min: mtree.Unix(0, 0), Max: mtree.Unix(math.MaxUint32, 999_999_999), Wrap: 1 << 32}
	require.Equal(t, mtree.Unix(1<<32-4, 0), coarse.Stored(mtree.Unix(-3, 5)))
}

// A directory whose time the file system cannot keep was never complete for readers of
// the copy.
func TestSameStoredBeyondTheEnds(t *testing.T) {
	for _, c := range []struct {
		have, want mtree.Stamp
		same       bool
	}{
		{mtree.Unix(1<<32-1000, 5), mtree.Unix(-1000, 5), true},
		{mtree.Unix(1<<32-1000, 6), mtree.Unix(-1000, 5), false},
		{mtree.Unix(0, 0), mtree.Unix(-1000, 5), true},
		{mtree.Unix(math.MaxInt32, 0), mtree.Unix(1<<33, 5), true},
		{mtree.Unix(math.MaxInt32, 0), mtree.Unix(5, 5), false},
		{mtree.Unix(0, 0), mtree.Unix(5, 0), false},
		{mtree.Unix(5, 700), mtree.Unix(5, 789), true},
		{mtree.Unix(5, 780), mtree.Unix(5, 789), false},
		{mtree.Unix(315_532_800, 0), mtree.Unix(5, 0), true},
		{mtree.Unix(1<<32+5, 0), mtree.Unix(5, 0), false},
	} {
		require.Equal(t, c.same, SameStored(c.have, c.want), "%s as %s", c.want, c.have)
	}
}

type storeFunc = func(t mtree.Stamp) (mtree.Stamp, bool)
