package sys

import (
	"bytes"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Statx is statx(2).
func Statx(dirfd int, path string, flags, mask int, stx *unix.Statx_t) (err error) {
	if kernel != nil {
		*stx, err = kernel.Statx(dirfd, strings.Clone(path), flags, mask)
		return err
	}
	return again(func() error { return unix.Statx(dirfd, path, flags, mask, stx) })
}

// StatxName is statx(2) of a name that ends in a NUL. With quick the scheduler does not
// learn of the call: no other goroutine runs on this processor until the kernel answers.
func StatxName(fd int, name *byte, flags, mask int, stx *unix.Statx_t, quick bool) (errno unix.Errno) {
	if kernel != nil {
		return statxSimulated(fd, name, flags, mask, stx)
	}
	for errno = unix.EINTR; errno == unix.EINTR; {
		if quick {
			_, _, errno = unix.RawSyscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)),
				uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(stx)), 0)
		} else {
			_, _, errno = unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)),
				uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(stx)), 0)
		}
	}
	return errno
}

func statxSimulated(fd int, name *byte, flags, mask int, stx *unix.Statx_t) unix.Errno {
	got, err := kernel.Statx(fd, strings.Clone(unix.BytePtrToString(name)), flags, mask)
	*stx = got
	errno, _ := err.(unix.Errno)
	return errno
}

// Fstat is fstat(2).
func Fstat(fd int, st *unix.Stat_t) error {
	if kernel != nil {
		return statSimulated(fd, "", st, unix.AT_EMPTY_PATH)
	}
	return again(func() error { return unix.Fstat(fd, st) })
}

// Fstatat is newfstatat(2).
func Fstatat(dirfd int, path string, st *unix.Stat_t, flags int) error {
	if kernel != nil {
		return statSimulated(dirfd, strings.Clone(path), st, flags)
	}
	return again(func() error { return unix.Fstatat(dirfd, path, st, flags) })
}

func statSimulated(dirfd int, path string, st *unix.Stat_t, flags int) error {
	stx, err := kernel.Statx(dirfd, path, flags, unix.STATX_BASIC_STATS)
	if err != nil {
		return err
	}
	*st = unix.Stat_t{
		Dev: unix.Mkdev(stx.Dev_major, stx.Dev_minor), Ino: stx.Ino, Mode: uint32(stx.Mode), Size: int64(stx.Size),
		Uid: stx.Uid, Gid: stx.Gid,
		Atim: unix.Timespec{Sec: stx.Atime.Sec, Nsec: int64(stx.Atime.Nsec)},
		Mtim: unix.Timespec{Sec: stx.Mtime.Sec, Nsec: int64(stx.Mtime.Nsec)},
		Ctim: unix.Timespec{Sec: stx.Ctime.Sec, Nsec: int64(stx.Ctime.Nsec)},
	}
	return nil
}

// Fstatfs is fstatfs(2).
func Fstatfs(fd int, st *unix.Statfs_t) (err error) {
	if kernel != nil {
		*st, err = kernel.Fstatfs(fd)
		return err
	}
	return again(func() error { return unix.Fstatfs(fd, st) })
}

// Fchmod is fchmod(2).
func Fchmod(fd int, mode uint32) error {
	if kernel != nil {
		return kernel.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	}
	return again(func() error { return unix.Fchmod(fd, mode) })
}

// Fchmodat is fchmodat(2), with flags fchmodat2(2).
func Fchmodat(dirfd int, path string, mode uint32, flags int) error {
	if kernel != nil {
		return kernel.Fchmodat(dirfd, strings.Clone(path), mode, flags)
	}
	return again(func() error { return unix.Fchmodat(dirfd, path, mode, flags) })
}

// Fchown is fchown(2).
func Fchown(fd, uid, gid int) error {
	if kernel != nil {
		return kernel.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	}
	return again(func() error { return unix.Fchown(fd, uid, gid) })
}

// Fchownat is fchownat(2).
func Fchownat(dirfd int, path string, uid, gid, flags int) error {
	if kernel != nil {
		return kernel.Fchownat(dirfd, strings.Clone(path), uid, gid, flags)
	}
	return again(func() error { return unix.Fchownat(dirfd, path, uid, gid, flags) })
}

// Futimens is utimensat(fd, NULL, times, 0), which libc calls futimens(3).
func Futimens(fd int, times *[2]unix.Timespec) error {
	if kernel != nil {
		return kernel.Utimensat(fd, "", *times, unix.AT_EMPTY_PATH)
	}
	return again(func() error {
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// UtimesNanoAt is utimensat(2).
func UtimesNanoAt(dirfd int, path string, times []unix.Timespec, flags int) error {
	if kernel != nil {
		return kernel.Utimensat(dirfd, strings.Clone(path), [2]unix.Timespec(times), flags)
	}
	return again(func() error { return unix.UtimesNanoAt(dirfd, path, times, flags) })
}

// Fsetxattr is fsetxattr(2).
func Fsetxattr(fd int, name string, value []byte, flags int) error {
	if kernel != nil {
		return kernel.Fsetxattr(fd, strings.Clone(name), bytes.Clone(value), flags)
	}
	return again(func() error { return unix.Fsetxattr(fd, name, value, flags) })
}

// Fgetxattr is fgetxattr(2).
func Fgetxattr(fd int, name string, buf []byte) (int, error) {
	if kernel != nil {
		value, err := kernel.Fgetxattr(fd, strings.Clone(name))
		return fill(buf, value, err)
	}
	return countAgain(func() (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// Flistxattr is flistxattr(2).
func Flistxattr(fd int, buf []byte) (int, error) {
	if kernel != nil {
		names, err := kernel.Flistxattr(fd)
		return fill(buf, names, err)
	}
	return countAgain(func() (int, error) { return unix.Flistxattr(fd, buf) })
}

func fill(buf []byte, text string, err error) (int, error) {
	if err == nil && len(text) > len(buf) && len(buf) > 0 {
		return -1, unix.ERANGE
	}
	copy(buf, text)
	return len(text), err
}

// Fremovexattr is fremovexattr(2).
func Fremovexattr(fd int, name string) error {
	if kernel != nil {
		return kernel.Fremovexattr(fd, strings.Clone(name))
	}
	return again(func() error { return unix.Fremovexattr(fd, name) })
}
