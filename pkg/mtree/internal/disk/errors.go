package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// unixErr returns the errno within err, 0 if there is none.
func Errno(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// IsGone reports whether err says that the file or directory is no longer
// there under that name, or is of another type now.
func IsGone(err error) bool {
	switch Errno(err) {
	case unix.ENOENT, unix.ENOTDIR, unix.ESTALE, unix.ELOOP:
		return true
	}
	return false
}

// IsRetyped reports whether err of readlinkat(2) says that the name is no symlink:
// something else has taken it since it was looked at.
func IsRetyped(err error) bool { return Errno(err) == unix.EINVAL }

// IsDenied reports whether err says that this process may not do it.
func IsDenied(err error) bool {
	switch Errno(err) {
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return true
	}
	return false
}

// IsUnreadable reports whether err says that permissions keep this process from
// reading: those that chmod or an ACL gives, which moves a ctime and is heard.
// EPERM is none of these: nothing tells when its cause has gone.
func IsUnreadable(err error) bool { return Errno(err) == unix.EACCES }

// IsBeyond reports whether err says that a path leads to another file system, or
// out of its directory, where it may not.
func IsBeyond(err error) bool { return Errno(err) == unix.EXDEV }

// IsFull reports whether err says that the file system is out of blocks,
// inodes or quota.
func IsFull(err error) bool {
	switch Errno(err) {
	case unix.ENOSPC, unix.EDQUOT:
		return true
	}
	return false
}

func isNotExist(err error) bool { return Errno(err) == unix.ENOENT }
