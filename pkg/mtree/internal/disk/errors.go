package disk

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Errors that callers branch on.
var (
	// ErrNotRegular is returned where a regular file was expected.
	ErrNotRegular = errors.New("not a regular file")

	// ErrReplaced says that the path of a root names another directory than the one
	// that was opened: after mv, rm, a mount over it, or an unmount.
	ErrReplaced = errors.New("another directory than at the start")

	// ErrAbove says that a directory further up than the parent kept this process from opening
	// something, or may have: see Dir.MarkAbove.
	ErrAbove = errors.New("a directory further up may not be entered: chmod it, or run this as another user")

	// ErrCollides is returned if the file system takes a new name for one that is there
	// already, spelled otherwise.
	ErrCollides = errors.New("the file system takes it for another name that is there already")

	// ErrBeyond says that something is on another file system, where that is not allowed. It
	// is what openat2(2) says of a mount.
	ErrBeyond error = unix.EXDEV
)

var (
	// errMount is returned if something is mounted where an entry was to be removed,
	// entered or changed.
	errMount = errors.New("another file system is mounted here")

	// errTree is returned if the root of a tree or copy, a directory with mtree.MarkerName
	// in it, was to be removed: it belongs to another program.
	errTree = errors.New("the root of another tree or copy is in it (.tidemark)")
)

// Errno returns the errno within err, 0 if there is none.
func Errno(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// IsGone and IsAbsent are a pair. IsGone is for an entry of a directory that was seen
// before: it is no longer there. IsAbsent is for a path that somebody asked for: it
// does not lead to anything that may be opened. What is gone is absent, too. ESTALE says neither:
// NFS answers with it for everything after its server lost the handles. An audit that took all of
// that for removed would prove what it never saw, and a listing would lack it.

// IsGone reports whether err says that the file or directory is no longer there under
// that name, or has another type now.
func IsGone(err error) bool {
	switch Errno(err) {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return true
	}
	return false
}

// IsAbsent reports whether err says that a path names nothing that could be opened
// below its directory: it is gone, has another type, leads outside, or cannot exist.
func IsAbsent(err error) bool {
	switch Errno(err) {
	case unix.EXDEV, unix.ENAMETOOLONG, unix.EINVAL, unix.ENXIO:
		return true
	}
	return IsGone(err) || errors.Is(err, ErrNotRegular) || errors.Is(err, mtree.ErrName) || errors.Is(err, fs.ErrNotExist)
}

// IsLink reports whether err says that there was a symlink where none is followed.
func IsLink(err error) bool {
	switch Errno(err) {
	case unix.ELOOP, unix.ENOTDIR:
		return true
	}
	return false
}

// IsRetyped reports whether err of readlinkat(2) says that the name is no symlink:
// something else has taken the name since statx showed one.
func IsRetyped(err error) bool { return Errno(err) == unix.EINVAL }

// IsBeyond reports whether err says that a path leads to another file system, or out
// of its directory, where that is not allowed.
func IsBeyond(err error) bool { return Errno(err) == unix.EXDEV }

// IsDenied reports whether err says that this process is not allowed to do it.
func IsDenied(err error) bool {
	switch Errno(err) {
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return true
	}
	return false
}

// IsUnreadable reports whether err says that permissions keep this process from
// reading. chmod or an ACL gives them, which moves a ctime and makes an event. EPERM
// does not count: nothing shows when its cause has gone.
func IsUnreadable(err error) bool {
	return Errno(err) == unix.EACCES // guard (returns IsDenied(err)): TestKindsOfErrors
}

// IsFull reports whether err says that the file system is out of blocks, inodes or
// quota.
func IsFull(err error) bool {
	switch Errno(err) {
	case unix.ENOSPC, unix.EDQUOT:
		return true
	}
	return false
}

// IsUnsure reports whether err of a system call leaves open what is there: the disk
// failed, say, or this machine is out of descriptors or memory for the moment. What was
// there before counts as being there still.
func IsUnsure(err error) bool { return Errno(err) != 0 && !IsGone(err) }

// IsOutOfResources reports whether err says that this machine is out of descriptors
// or memory for the moment.
func IsOutOfResources(err error) bool {
	switch Errno(err) {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
		return true
	}
	return false
}
