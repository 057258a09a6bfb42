package replica

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever prevented mirror from making DEST, it said to make the directory above it.
func TestRemedies(t *testing.T) {
	for errno, says := range map[syscall.Errno]struct{ opening, writing string }{
		syscall.ENOENT: {"make the directory above", ""}, syscall.EACCES: {"run mirror as a user who may write there", "may not write there"},
		syscall.EROFS: {"mounted read-only", "mounted read-only"}, syscall.ENOTDIR: {"must be a directory", ""},
		syscall.EEXIST: {"must be a directory", ""}, syscall.ENOSPC: {"make room", ""}, syscall.EDQUOT: {"make room", ""},
		syscall.EPERM: {"only its owner", "only its owner"}, syscall.EMFILE: {"out of descriptors", ""}, syscall.ENOMEM: {"out of descriptors", ""},
		syscall.EIO: {"kernel's log", ""}, syscall.ESTALE: {"kernel's log", ""}, syscall.EBUSY: {"DEST must be writable", ""},
	} {
		err := &os.PathError{Op: "mkdir", Path: "x", Err: errno}
		require.Contains(t, remedyOpening(err), says.opening)
		require.Contains(t, RemedyWriting(err), says.writing)
		require.Equal(t, says.writing == "", RemedyWriting(err) == "", errno)
	}
}

// A failure of the copy's disk is marked as one, and stays what it is.
func TestLocal(t *testing.T) {
	require.NoError(t, Local(nil))
	err := errors.Join(io.EOF, Local(fs.ErrPermission))
	require.True(t, IsLocal(err))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.False(t, IsLocal(io.EOF))
	require.False(t, IsLocal(nil))
}
