package sys

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Openat is openat(2).
func Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	if kernel != nil {
		return kernel.Openat(dirfd, strings.Clone(path), flags, mode)
	}
	return countAgain(func() (int, error) { return unix.Openat(dirfd, path, flags, mode) })
}

// Openat2 is openat2(2).
func Openat2(dirfd int, path string, how *unix.OpenHow) (int, error) {
	if kernel != nil {
		return kernel.Openat2(dirfd, strings.Clone(path), *how)
	}
	return countAgain(func() (int, error) { return unix.Openat2(dirfd, path, how) })
}

// Close is close(2).
func Close(fd int) error {
	if kernel != nil {
		return kernel.Close(fd)
	}
	return unix.Close(fd)
}

// Mkdir is mkdir(2).
func Mkdir(path string, mode uint32) error { return Mkdirat(unix.AT_FDCWD, path, mode) }

// Mkdirat is mkdirat(2).
func Mkdirat(dirfd int, path string, mode uint32) error {
	if kernel != nil {
		return kernel.Mkdirat(dirfd, strings.Clone(path), mode)
	}
	return again(func() error { return unix.Mkdirat(dirfd, path, mode) })
}

// Unlinkat is unlinkat(2).
func Unlinkat(dirfd int, path string, flags int) error {
	if kernel != nil {
		return kernel.Unlinkat(dirfd, strings.Clone(path), flags)
	}
	return again(func() error { return unix.Unlinkat(dirfd, path, flags) })
}

// Renameat is renameat(2).
func Renameat(olddirfd int, oldpath string, newdirfd int, newpath string) error {
	if kernel != nil {
		return kernel.Renameat2(olddirfd, strings.Clone(oldpath), newdirfd, strings.Clone(newpath), 0)
	}
	return again(func() error { return unix.Renameat(olddirfd, oldpath, newdirfd, newpath) })
}

// Renameat2 is renameat2(2).
func Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint) error {
	if kernel != nil {
		return kernel.Renameat2(olddirfd, strings.Clone(oldpath), newdirfd, strings.Clone(newpath), flags)
	}
	return again(func() error { return unix.Renameat2(olddirfd, oldpath, newdirfd, newpath, flags) })
}

// Linkat is linkat(2).
func Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error {
	if kernel != nil {
		return kernel.Linkat(olddirfd, strings.Clone(oldpath), newdirfd, strings.Clone(newpath), flags)
	}
	return again(func() error { return unix.Linkat(olddirfd, oldpath, newdirfd, newpath, flags) })
}

// Symlinkat is symlinkat(2).
func Symlinkat(target string, dirfd int, path string) error {
	if kernel != nil {
		return kernel.Symlinkat(strings.Clone(target), dirfd, strings.Clone(path))
	}
	return again(func() error { return unix.Symlinkat(target, dirfd, path) })
}

// Readlinkat is readlinkat(2).
func Readlinkat(dirfd int, path string, buf []byte) (int, error) {
	if kernel != nil {
		target, err := kernel.Readlinkat(dirfd, strings.Clone(path))
		return copy(buf, target), err
	}
	return countAgain(func() (int, error) { return unix.Readlinkat(dirfd, path, buf) })
}

// Getdents is getdents64(2).
func Getdents(fd int, buf []byte) (int, error) {
	if kernel != nil {
		records, err := kernel.Getdents(fd, len(buf))
		return copy(buf, records), err
	}
	return countAgain(func() (int, error) { return unix.Getdents(fd, buf) })
}
