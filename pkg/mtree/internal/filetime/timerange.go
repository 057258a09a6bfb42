package filetime

import (
	"math"
	"time"

	"tidemark/pkg/mtree"
)

// Range says which file times a file system can store.
type Range struct {
	Granule  time.Duration // the smallest step
	Min, Max mtree.Stamp   // what is between them is kept, but for the granule
	Wrap     int64         // what is not comes back so many seconds off, or twice that...; 0: as the nearer end
}

// Store sets a time and returns what became of it; false if it was refused.
type Store func(t mtree.Stamp) (mtree.Stamp, bool)

// keeps reports whether a time of so many seconds comes back as it should.
func (store Store) keeps(sec int64, granule time.Duration) bool {
	t := mtree.Unix(sec, 0)
	got, ok := store(t)
	return ok && got == t.Floor(granule)
}

// Seconds that every file system keeps, and those that are beyond all: half the
// range of int64, so that no sum in a kernel overflows.
const (
	keptSecond   = 1_000_000_000
	beyondSecond = 1 << 62
)

func Measure(granule time.Duration, store Store) Range {
	r := Range{Granule: granule, Min: mtree.MinStamp, Max: mtree.MaxStamp}
	if !store.keeps(-beyondSecond, granule) {
		r.Min = store.end(-beyondSecond, granule)
	}
	if !store.keeps(beyondSecond, granule) {
		r.Max = store.end(beyondSecond, granule)
	}
	low, _ := r.Min.Unix()
	high, _ := r.Max.Unix()
	if r.Min != mtree.MinStamp && r.Max != mtree.MaxStamp && store.wraps(low, high, granule) {
		r.Wrap = high - low + 1
	}
	return r
}

// end returns the last time on the way to beyond that is kept: what beyond comes
// back as, if all that is further than that does; else it is searched for.
func (store Store) end(beyond int64, granule time.Duration) mtree.Stamp {
	if got, ok := store(mtree.Unix(beyond, 0)); ok {
		sec, _ := got.Unix()
		further := int64(100)
		if beyond < 0 {
			further = -further
		}
		past, ok := store(mtree.Unix(sec+further, 0))
		if ok && past == got && store.keeps(sec-further, granule) && store.keeps(sec/2+keptSecond/2, granule) {
			return got
		}
	}
	kept := int64(keptSecond)
	for lost := beyond; lost-kept > 1 || kept-lost > 1; {
		if middle := kept/2 + lost/2 + (kept%2+lost%2)/2; store.keeps(middle, granule) {
			kept = middle
		} else {
			lost = middle
		}
	}
	last := mtree.Unix(kept, 0)
	if beyond > 0 {
		if end := mtree.Unix(kept, 999_999_999); store.is(end, end.Floor(granule)) {
			return end
		}
	}
	return last
}

func (store Store) is(t, want mtree.Stamp) bool {
	got, ok := store(t)
	return ok && got == want
}

// wraps reports whether what is beyond the ends comes round again.
func (store Store) wraps(low, high int64, granule time.Duration) bool {
	const some = 123_456
	return store.is(mtree.Unix(high+1+some, 0), mtree.Unix(low+some, 0).Floor(granule)) &&
		store.is(mtree.Unix(low-1-some, 0), mtree.Unix(high-some, 0).Floor(granule))
}

// Stored returns what the file system keeps when told t, or when told what Stored
// returns.
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

// SameStored reports whether a file system may have stored want as have:
// exactly, or rounded down to a coarser granule, or, beyond what it can count, as
// the nearer end or 2^32 seconds off.
func SameStored(have, want mtree.Stamp) bool {
	sec, _ := have.Unix()
	wantSec, nsec := want.Unix()
	if (wantSec < 0 || wantSec > math.MaxUint32) && (sec-wantSec)%(1<<32) == 0 {
		want = mtree.Unix(sec, nsec)
	}
	for _, g := range Granules {
		if have == want.Floor(g) {
			return true
		}
	}
	return isEnd(sec, wantSec)
}

// isEnd reports whether sec is the first or the last second that a file system
// counts, and want is beyond.
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

// Granules are the steps in which file systems store times.
var Granules = []time.Duration{1, 100, time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second, 2 * time.Second}

// Step is the coarsest granule of which t is a multiple: a file system that
// shows t stores steps as small as that, or smaller.
func Step(t mtree.Stamp) time.Duration {
	coarsest := Granules[0]
	for _, g := range Granules {
		if t.Floor(g) == t {
			coarsest = g
		}
	}
	return coarsest
}
