package replica

import (
	"errors"
	"io/fs"
	"syscall"

	"tidemark/pkg/mtree/internal/disk"
)

// localError marks a failure of this machine's disk, not of the source.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// Local marks err as a failure of the copy's disk; nil stays nil.
func Local(err error) error {
	if err == nil {
		return nil
	}
	return localError{err}
}

// IsLocal reports whether an error is a failure of the copy's disk.
func IsLocal(err error) bool {
	var l localError
	return errors.As(err, &l)
}

// MakeRoom says what to do about a full disk.
const MakeRoom = "make room on the file system of DEST"

// remedyOpening says what to do about an error of making or opening DEST.
func remedyOpening(err error) string {
	switch {
	case disk.IsFull(err):
		return MakeRoom
	case disk.IsOutOfResources(err):
		return "this machine is out of descriptors or memory: try again, or raise the limit of open files"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE):
		return "look at the kernel's log, check the disk of DEST"
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EPERM):
		return RemedyWriting(err)
	case errors.Is(err, fs.ErrPermission):
		return "run mirror as a user who may write there, or make DEST and give it to this user"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return "DEST must be a directory, and all above it"
	case errors.Is(err, fs.ErrNotExist):
		return "make the directory above DEST first"
	}
	return "DEST must be writable"
}

// RemedyWriting says what to do about an error of changing something in the copy; "" if
// the error says enough.
func RemedyWriting(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the file system of DEST is mounted read-only: mount it for writing"
	case errors.Is(err, syscall.EPERM):
		return "only its owner may set times and modes, and nobody where it is immutable (chattr +i): give what is in DEST to the user of mirror"
	case errors.Is(err, syscall.EACCES):
		return "the user of mirror may not write there: give what is in DEST to that user"
	}
	return ""
}
