package state

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/sys"
)

// Granule measures the smallest step of time that the tree's file system stores, by
// setting the mtime of a scratch file: 1 ns on ext4, xfs, btrfs and tmpfs; 1 s on ext4
// with 128-byte inodes; 2 s on FAT. Where the marker is on another file system, it
// follows from the root's own times, and may be coarser than it is. Cost: some ten
// system calls.
func (m *Marker) Granule() (time.Duration, error) {
	own, err := m.dir.Self()
	if err != nil {
		return 0, err
	}
	root, err := m.root.Self()
	if err != nil {
		return 0, err
	}
	if own.Node.Dev != root.Node.Dev {
		return min(filetime.CoarsestGranule(root.MTime), filetime.CoarsestGranule(root.CTime), filetime.CoarsestGranule(root.BTime)), nil
	}
	fd, done, err := m.scratch()
	if err != nil {
		return 0, err
	}
	defer done()
	want := mtree.Unix(1_000_000_001, 999_999_999)
	if err := disk.SetTimeFD(fd, want); err != nil {
		return 0, m.dir.PathError("utimensat", scratchName, err)
	}
	info, err := disk.StatFD(fd)
	if err != nil {
		return 0, m.dir.PathError("stat", scratchName, err)
	}
	if g, ok := filetime.GranuleOf(want, info.MTime); ok {
		return g, nil
	}
	return 0, fmt.Errorf("%s: a time of %s is stored as %s: no granule we know", m.dir.Path(), want, info.MTime)
}

// TimeRange measures which times the marker's file system stores, with a scratch file.
// Cost: some thirty system calls where times are clamped, else some thousand.
func (m *Marker) TimeRange() (r filetime.Range, err error) {
	granule, err := m.Granule()
	if err != nil {
		return r, err
	}
	fd, done, err := m.scratch()
	if err != nil {
		return r, err
	}
	defer done()
	store := func(t mtree.Stamp) (mtree.Stamp, bool) {
		setErr := disk.SetTimeFD(fd, t)
		if setErr != nil {
			setErr = disk.SetTimeFD(fd, t) // what fails once is no refusal
		}
		if isRefusal(setErr) {
			return t, false
		}
		if setErr != nil {
			err = m.dir.PathError("utimensat", scratchName, setErr)
			return t, false
		}
		info, statErr := disk.StatFD(fd)
		if statErr != nil {
			err = m.dir.PathError("stat", scratchName, statErr)
		}
		return info.MTime, statErr == nil
	}
	r = filetime.Measure(granule, store)
	if err == nil { // else a disk that began to fail would seem to keep no times after 2001
		if setErr := disk.SetTimeFD(fd, mtree.FromTime(time.Now())); setErr != nil {
			err = m.dir.PathError("utimensat", scratchName, setErr)
		}
	}
	return r, err
}

// isRefusal reports whether err may say that a file system does not take a time. FUSE
// file systems say so by all of these.
func isRefusal(err error) bool {
	switch err {
	case unix.EINVAL, unix.ERANGE, unix.EOVERFLOW, unix.EOPNOTSUPP, unix.EPERM, unix.EIO:
		return true
	}
	return false
}

const scratchName = "probe"

// scratch opens a file in the marker whose times may be set, and returns a function
// that ends its use: a new file, or on a full file system the lock, which then gets
// its time back.
func (m *Marker) scratch() (fd int, done func(), err error) {
	fd, err = openOwn(m.dir, scratchName, true)
	if err == nil {
		return fd, func() {
			_ = sys.Close(fd)
			_ = sys.Unlinkat(m.dir.FD(), scratchName, 0)
		}, nil
	}
	if !disk.IsFull(err) {
		return 0, nil, err
	}
	full := err
	if fd, err = disk.OpenAt(m.dir.FD(), lockName, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return 0, nil, full
	}
	was, err := disk.StatFD(fd)
	if err != nil {
		_ = sys.Close(fd)
		return 0, nil, full
	}
	return fd, func() {
		_ = disk.SetTimeFD(fd, was.MTime)
		_ = sys.Close(fd)
	}, nil
}
