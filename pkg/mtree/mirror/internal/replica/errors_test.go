package replica

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever prevented mirror from making DEST, it said to make the directory above it.
func TestRemediesOfOpening(t *testing.T) {
	for errno, says := range map[syscall.Errno]string{
		syscall.ENOENT: "make the directory above", syscall.EACCES: "run mirror as a user who may write there", syscall.EROFS: "read-only",
		syscall.ENOTDIR: "must be a directory", syscall.ENOSPC: "make room", syscall.EPERM: "only its owner",
	} {
		require.Contains(t, remedyOpening(&os.PathError{Op: "mkdir", Path: "x", Err: errno}), says)
	}
}
