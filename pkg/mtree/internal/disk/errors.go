package disk

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unixErr returns the errno within err, 0 if there is none.
func unixErr(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// IsGone reports whether err says that the file or directory is no longer
// there under that name, or is of another type now.
func IsGone(err error) bool {
	switch unixErr(err) {
	case unix.ENOENT, unix.ENOTDIR, unix.ESTALE, unix.ELOOP:
		return true
	}
	return false
}

// IsDenied reports whether err says that this process may not do it.
func IsDenied(err error) bool {
	switch unixErr(err) {
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return true
	}
	return false
}

// IsBeyond reports whether err says that a path leads to another file system.
func IsBeyond(err error) bool { return unixErr(err) == unix.EXDEV }

// IsFull reports whether err says that the file system is out of blocks,
// inodes or quota.
func IsFull(err error) bool {
	switch unixErr(err) {
	case unix.ENOSPC, unix.EDQUOT:
		return true
	}
	return false
}

func readSmall(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
