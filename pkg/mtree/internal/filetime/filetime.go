package filetime

import (
	"math"
	"time"

	"tidemark/pkg/mtree"
)

// Range says which times a file system stores.
type Range struct {
	Granule  time.Duration // the smallest step
	Min, Max mtree.Stamp   // times between them are kept, rounded down to the granule
	Wrap     int64         // times beyond come back this many seconds off, or a multiple of that; 0: as the nearer end
}

// Stored returns the time that a file has after t was set. Stored of that is the same.
func (r Range) Stored(t mtree.Stamp) mtree.Stamp {
	beyond := t.After(r.Max) || t.Before(r.Min)
	switch {
	case beyond && r.Wrap != 0:
		low, _ := r.Min.Unix()
		sec, nsec := t.Unix()
		off := (sec%r.Wrap - low%r.Wrap + 2*r.Wrap) % r.Wrap
		t = mtree.Unix(low+off, nsec)
	case t.After(r.Max):
		return r.Max
	case t.Before(r.Min):
		return r.Min
	}
	return t.Floor(r.Granule)
}

// SameStored reports whether some file system may have stored want as have: exactly,
// or rounded down to a coarser granule, or, beyond what it can count, as the nearer
// end or 2^32 seconds off.
func SameStored(have, want mtree.Stamp) bool {
	sec, _ := have.Unix()
	wantSec, nsec := want.Unix()
	if (wantSec < 0 || wantSec > math.MaxUint32) && (sec-wantSec)%(1<<32) == 0 {
		want = mtree.Unix(sec, nsec)
	}
	if _, ok := GranuleOf(want, have); ok {
		return true
	}
	return isEnd(sec, wantSec)
}

// isEnd reports whether sec is the first or the last second that a file system counts,
// and want is beyond.
func isEnd(sec, want int64) bool {
	const fat = 315_532_800 // 1980
	switch sec {
	case math.MinInt32, 0, fat:
		return want < sec
	case math.MaxInt32, math.MaxUint32, math.MaxInt32 + 3<<32, fat + 4_039_286_398, fat + 4_039_286_399:
		return want > sec
	}
	return false
}

// granules are the steps in which file systems store times.
var granules = []time.Duration{1, 100, time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second, 2 * time.Second}

// GranuleOf returns the granule to which a file system rounded the time set down, if
// it shows got; false if none does that.
func GranuleOf(set, got mtree.Stamp) (time.Duration, bool) {
	for _, g := range granules {
		if got == set.Floor(g) {
			return g, true
		}
	}
	return 0, false
}

// CoarsestGranule returns the coarsest granule of which t is a multiple: a file system
// that shows t stores steps as small as that, or smaller.
func CoarsestGranule(t mtree.Stamp) time.Duration {
	coarsest := granules[0]
	for _, g := range granules {
		if t.Floor(g) == t {
			coarsest = g
		}
	}
	return coarsest
}
