package filetime

import (
	"time"

	"tidemark/pkg/mtree"
)

// Measure returns the range of a file system with this granule. store sets a time and
// returns the time that is stored; false if the file system refuses it.
//
// Kernels since 5.4 clamp at the ends (ext4: 1901 to 2446), CephFS counts 32 bits of
// seconds and begins anew, ntfs-3g multiplies until the sum overflows. Cost: some ten
// calls of store where times are clamped, else some three hundred.
func Measure(granule time.Duration, store func(t mtree.Stamp) (mtree.Stamp, bool)) Range {
	m := meter{granule, store}
	r := Range{Granule: granule, Min: mtree.MinStamp, Max: mtree.MaxStamp}
	if !m.keeps(-beyondSecond) {
		r.Min = m.end(-beyondSecond)
	}
	if !m.keeps(beyondSecond) {
		r.Max = m.end(beyondSecond)
	}
	low, _ := r.Min.Unix()
	high, _ := r.Max.Unix()
	if r.Min != mtree.MinStamp && r.Max != mtree.MaxStamp && m.wraps(low, high) {
		r.Wrap = high - low + 1
	}
	return r
}

// keptSecond is a second that every file system keeps. beyondSecond is beyond all of
// them: half the range of int64, so that no sum in a kernel overflows.
const (
	keptSecond   = 1_000_000_000
	beyondSecond = 1 << 62
)

// meter measures one file system.
type meter struct {
	granule time.Duration
	store   func(t mtree.Stamp) (mtree.Stamp, bool)
}

// keeps reports whether this second comes back as it should.
func (m meter) keeps(sec int64) bool {
	t := mtree.Unix(sec, 0)
	return m.is(t, t.Floor(m.granule))
}

// is reports whether t is stored as want.
func (m meter) is(t, want mtree.Stamp) bool {
	got, ok := m.store(t)
	return ok && got == want
}

// end returns the last time in the direction of beyond that is kept. It is what beyond
// comes back as, if all times further on come back so, too. Otherwise a binary search
// finds it.
func (m meter) end(beyond int64) mtree.Stamp {
	if got, ok := m.store(mtree.Unix(beyond, 0)); ok {
		sec, _ := got.Unix()
		further := int64(100)
		if beyond < 0 {
			further = -further
		}
		if m.is(mtree.Unix(sec+further, 0), got) && m.keeps(sec-further) && m.keeps(sec/2+keptSecond/2) {
			return got
		}
	}
	kept := int64(keptSecond)
	for lost := beyond; lost-kept > 1 || kept-lost > 1; {
		if middle := kept/2 + lost/2 + (kept%2+lost%2)/2; m.keeps(middle) {
			kept = middle
		} else {
			lost = middle
		}
	}
	last := mtree.Unix(kept, 0)
	if beyond > 0 {
		if end := mtree.Unix(kept, 999_999_999); m.is(end, end.Floor(m.granule)) {
			return end
		}
	}
	return last
}

// wraps reports whether times beyond the ends come back at the other end.
func (m meter) wraps(low, high int64) bool {
	const some = 123_456
	return m.is(mtree.Unix(high+1+some, 0), mtree.Unix(low+some, 0).Floor(m.granule)) &&
		m.is(mtree.Unix(low-1-some, 0), mtree.Unix(high-some, 0).Floor(m.granule))
}
