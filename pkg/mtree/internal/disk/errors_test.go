package disk_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
)

// What an error means decides whether something is deleted, left out, or tried again. A
// missing right (EACCES) is left out, because giving it moves a time. EPERM, of an immutable
// file or a security module, is a failure: nothing shows when its cause has gone, so a
// copy without it would never be completed.
func TestKindsOfErrors(t *testing.T) {
	kinds := []struct {
		name string
		is   func(error) bool
		of   []unix.Errno
	}{
		{"gone", disk.IsGone, []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.ELOOP}},
		{"absent", disk.IsAbsent, []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EXDEV, unix.ENAMETOOLONG, unix.EINVAL, unix.ENXIO}},
		{"beyond", disk.IsBeyond, []unix.Errno{unix.EXDEV}},
		{"denied", disk.IsDenied, []unix.Errno{unix.EACCES, unix.EPERM, unix.EROFS}},
		{"unreadable", disk.IsUnreadable, []unix.Errno{unix.EACCES}},
		{"full", disk.IsFull, []unix.Errno{unix.ENOSPC, unix.EDQUOT}},
		{"out of resources", disk.IsOutOfResources, []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS}},
	}
	for errno := unix.Errno(1); errno < 134; errno++ {
		for _, kind := range kinds {
			want := false
			for _, e := range kind.of {
				want = want || e == errno
			}
			require.Equal(t, want, kind.is(fmt.Errorf("open a: %w", errno)), "%s: %v", kind.name, errno)
		}
	}
}
