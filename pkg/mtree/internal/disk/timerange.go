package disk

import (
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// TimeRange says which file times a file system can store.
type TimeRange struct {
	Granule  time.Duration // the smallest step
	Min, Max mtree.Stamp   // earlier and later times become these
}

// TimeRange measures what the marker's file system stores, with a scratch file:
// see Granule for the step; kernels since 5.4 clamp at the ends (ext4: 1901 to
// 2446).
func (m *Marker) TimeRange() (TimeRange, error) {
	r := TimeRange{Min: mtree.MinStamp, Max: mtree.MaxStamp}
	var err error
	if r.Granule, err = m.Granule(); err != nil {
		return r, err
	}
	fd, done, err := m.scratch()
	if err != nil {
		return r, err
	}
	defer done()
	for _, end := range []*mtree.Stamp{&r.Min, &r.Max} {
		// Half the range of int64 seconds: beyond every file system, yet no
		// sum in a kernel overflows.
		sec, _ := end.Unix()
		if err := futimens(fd, mtree.Unix(sec/2, 0)); err != nil {
			continue // refused, not clamped: an old kernel; the caller will see the error
		}
		info, err := statFD(fd)
		if err != nil {
			return r, m.dir.fail("stat", scratchName, err)
		}
		if info.MTime != mtree.Unix(sec/2, 0) {
			*end = info.MTime
		}
	}
	return r, nil
}

const scratchName = "probe"

// scratch opens a file in the marker whose times may be set, and says how to let
// go of it: a new one, or on a full file system the lock, which gets its time
// back.
func (m *Marker) scratch() (fd int, done func(), err error) {
	fd, err = openat(m.dir.fd, scratchName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == nil {
		return fd, func() {
			_ = unix.Close(fd)
			_ = unix.Unlinkat(m.dir.fd, scratchName, 0)
		}, nil
	}
	if !IsFull(err) {
		return 0, nil, m.dir.fail("create", scratchName, err)
	}
	full := m.dir.fail("create", scratchName, err)
	if fd, err = openat(m.dir.fd, lockName, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
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

// Stored returns what the file system keeps when told t.
func (r TimeRange) Stored(t mtree.Stamp) mtree.Stamp {
	switch {
	case t.After(r.Max):
		return r.Max
	case t.Before(r.Min):
		return r.Min
	}
	return t.Floor(r.Granule)
}
