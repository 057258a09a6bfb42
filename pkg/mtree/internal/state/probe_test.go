package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// The step of time is measured where the marker is. A marker on another file system says
// nothing of the tree: the root's own times do.
func TestGranuleOfAnotherFileSystem(t *testing.T) {
	k, m := newFaulty(t)
	away := false
	k.Show = func(call string, stx *unix.Statx_t) {
		switch call {
		case "statx .tidemark":
			if away {
				stx.Dev_minor++
			}
		case "statx tree":
			for _, at := range []*unix.StatxTimestamp{&stx.Mtime, &stx.Ctime, &stx.Btime} {
				at.Sec, at.Nsec = 1_000_000_001, 0
			}
		}
	}
	g, err := m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Duration(1), g)
	away = true
	g, err = m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Second, g)
}

// A file system that stores another time altogether is no one that we can use.
func TestNoGranule(t *testing.T) {
	k, m := newFaulty(t)
	k.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx probe" {
			stx.Mtime.Sec = 77
		}
	}
	_, err := m.Granule()
	require.ErrorContains(t, err, "no granule we know")
}

// What fails once is no refusal of a time. What fails again is one by some errors, and by
// others an error, also if all is well later.
func TestTimesThatAreRefused(t *testing.T) {
	k, m := newFaulty(t)
	want, err := m.TimeRange()
	require.NoError(t, err)
	for n := 2; n < 12; n++ { // the first is that of Granule
		for _, errno := range []unix.Errno{unix.EINVAL, unix.EACCES} {
			k.RefuseNth("utimes probe", n, errno)
			got, err := m.TimeRange()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		tries := 0
		k.Fail = func(call string) error {
			if call == "utimes probe" {
				if tries++; tries == n || tries == n+1 {
					return unix.EROFS
				}
			}
			return nil
		}
		_, err := m.TimeRange()
		require.ErrorIs(t, err, unix.EROFS)
	}
	tries := 0
	k.Fail = func(call string) error { // only what is asked after a time was set
		if call == "utimes probe" {
			tries++
		}
		if n := len(k.Calls); tries == 2 && n > 1 && k.Calls[n-2] == "utimes probe" {
			return unix.EIO
		}
		return nil
	}
	_, err = m.TimeRange()
	require.ErrorIs(t, err, unix.EIO)

	// By these, a FUSE file system says that it takes no times before 1970, or any at all.
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ERANGE, unix.EOVERFLOW, unix.EOPNOTSUPP, unix.EPERM, unix.EIO} {
		require.True(t, isRefusal(errno))
	}
	require.False(t, isRefusal(nil) || isRefusal(unix.EROFS) || isRefusal(unix.ENOSPC))
}

// since1970 is a file system in user space that refuses times before 1970.
type since1970 struct{ *faultkernel.Kernel }

func (k since1970) Utimensat(dirfd int, path string, times [2]unix.Timespec, flags int) error {
	if times[1].Sec < 0 {
		return unix.EINVAL
	}
	return k.Kernel.Utimensat(dirfd, path, times, flags)
}

// Times that are refused are none that the file system stores.
func TestARangeOfTimesThatAreTaken(t *testing.T) {
	k, m := newFaulty(t)
	all, err := m.TimeRange()
	require.NoError(t, err)
	t.Cleanup(sys.Simulate(since1970{k}))
	r, err := m.TimeRange()
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(0, 0), r.Min)
	require.Equal(t, all.Max, r.Max)
}

// The disk that begins to fail at the end would seem to keep no times.
func TestADiskThatFailsWhileTimesAreMeasured(t *testing.T) {
	k, m := newFaulty(t)
	_, err := m.TimeRange()
	require.NoError(t, err)
	k.Calls = nil
	_, err = m.TimeRange()
	require.NoError(t, err)
	sets := k.Made("utimes")
	k.Fail = func(call string) error {
		if call == "utimes probe" {
			if sets--; sets <= 0 {
				return unix.EROFS
			}
		}
		return nil
	}
	_, err = m.TimeRange()
	require.ErrorIs(t, err, unix.EROFS)
}

// On a full disk the lock serves as the scratch file, and keeps its time. Without one the
// disk's own reason is told; another error does not touch the lock.
func TestScratchOnAFullDisk(t *testing.T) {
	k, m := newFaulty(t)
	k.Refuse("open probe", unix.ENOSPC, -1)
	_, err := m.Granule()
	require.ErrorIs(t, err, unix.ENOSPC)
	lock, err := m.Lock()
	require.NoError(t, err)
	at := mtree.Unix(1_234_567, 89)
	require.NoError(t, disk.SetTimeFD(lock.fd, at))
	began := len(k.Open)
	g, err := m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Duration(1), g)
	info, err := disk.StatFD(lock.fd)
	require.NoError(t, err)
	require.Equal(t, at, info.MTime)
	require.Len(t, k.Open, began)

	k.Fail = func(call string) error {
		switch call {
		case "open probe":
			return unix.ENOSPC
		case "statx lock":
			return unix.EIO
		}
		return nil
	}
	_, err = m.Granule()
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Len(t, k.Open, began)
	k.Refuse("open probe", unix.EIO, -1)
	_, err = m.Granule()
	require.ErrorIs(t, err, unix.EIO)
	require.NoError(t, lock.Unlock())
}
