package sys

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Read is read(2).
func Read(fd int, p []byte) (int, error) {
	if kernel != nil {
		text, err := kernel.Pread(fd, len(p), -1)
		return copy(p, text), err
	}
	return countAgain(func() (int, error) { return unix.Read(fd, p) })
}

// Pread is pread(2).
func Pread(fd int, p []byte, offset int64) (int, error) {
	if kernel != nil {
		text, err := kernel.Pread(fd, len(p), offset)
		return copy(p, text), err
	}
	return countAgain(func() (int, error) { return unix.Pread(fd, p, offset) })
}

// Write is write(2).
func Write(fd int, p []byte) (int, error) {
	if kernel != nil {
		return kernel.Pwrite(fd, bytes.Clone(p), -1)
	}
	return countAgain(func() (int, error) { return unix.Write(fd, p) })
}

// Seek is lseek(2).
func Seek(fd int, offset int64, whence int) (int64, error) {
	if kernel != nil {
		return kernel.Seek(fd, offset, whence)
	}
	return unix.Seek(fd, offset, whence)
}

// Ftruncate is ftruncate(2).
func Ftruncate(fd int, length int64) error {
	if kernel != nil {
		return kernel.Ftruncate(fd, length)
	}
	return again(func() error { return unix.Ftruncate(fd, length) })
}

// Fsync is fsync(2).
func Fsync(fd int) error {
	if kernel != nil {
		return kernel.Fsync(fd)
	}
	return again(func() error { return unix.Fsync(fd) })
}

// Syncfs is syncfs(2).
func Syncfs(fd int) error {
	if kernel != nil {
		return kernel.Syncfs(fd)
	}
	return again(func() error { return unix.Syncfs(fd) })
}
