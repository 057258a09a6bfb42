package disk

import (
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// TimeRange says which file times a file system can store.
type TimeRange struct {
	Granule  time.Duration // the smallest step
	Min, Max mtree.Stamp   // what is between them is kept, but for the granule
	Wrap     int64         // what is not comes back so many seconds off, or twice that...; 0: as the nearer end
}

// TimeRange measures what the marker's file system stores, with a scratch file:
// see Granule for the step. Kernels since 5.4 clamp at the ends (ext4: 1901 to
// 2446), CephFS counts 32 bits of seconds and begins anew, ntfs-3g multiplies until
// the sum overflows. Cost: some ten system calls, where times are not clamped some
// three hundred.
func (m *Marker) TimeRange() (r TimeRange, err error) {
	granule, err := m.Granule()
	if err != nil {
		return r, err
	}
	fd, done, err := m.scratch()
	if err != nil {
		return r, err
	}
	defer done()
	r = measureTimes(granule, func(t mtree.Stamp) (mtree.Stamp, bool) {
		if futimens(fd, t) != nil {
			return t, false
		}
		info, statErr := statFD(fd)
		if statErr != nil {
			err = m.dir.fail("stat", scratchName, statErr)
		}
		return info.MTime, statErr == nil
	})
	return r, err
}

// storeFunc sets a time and returns what became of it; false if it was refused.
type storeFunc func(t mtree.Stamp) (mtree.Stamp, bool)

// keeps reports whether a time of so many seconds comes back as it should.
func (store storeFunc) keeps(sec int64, granule time.Duration) bool {
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

func measureTimes(granule time.Duration, store storeFunc) TimeRange {
	r := TimeRange{Granule: granule, Min: mtree.MinStamp, Max: mtree.MaxStamp}
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
func (store storeFunc) end(beyond int64, granule time.Duration) mtree.Stamp {
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

func (store storeFunc) is(t, want mtree.Stamp) bool {
	got, ok := store(t)
	return ok && got == want
}

// wraps reports whether what is beyond the ends comes round again.
func (store storeFunc) wraps(low, high int64, granule time.Duration) bool {
	const some = 123_456
	return store.is(mtree.Unix(high+1+some, 0), mtree.Unix(low+some, 0).Floor(granule)) &&
		store.is(mtree.Unix(low-1-some, 0), mtree.Unix(high-some, 0).Floor(granule))
}

const scratchName = "probe"

// scratch opens a file in the marker whose times may be set, and says how to let
// go of it: a new one, or on a full file system the lock, which gets its time
// back.
func (m *Marker) scratch() (fd int, done func(), err error) {
	fd, err = m.dir.openOwn(scratchName, true)
	if err == nil {
		return fd, func() {
			_ = unix.Close(fd)
			_ = unix.Unlinkat(m.dir.fd, scratchName, 0)
		}, nil
	}
	if !IsFull(err) {
		return 0, nil, err
	}
	full := err
	if fd, err = openat(m.dir.fd, lockName, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return 0, nil, full
	}
	was, err := statFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return 0, nil, full
	}
	return fd, func() {
		_ = futimens(fd, was.MTime)
		_ = unix.Close(fd)
	}, nil
}

// Stored returns what the file system keeps when told t, or when told what Stored
// returns.
func (r TimeRange) Stored(t mtree.Stamp) mtree.Stamp {
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
