package state

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// A number that ends with its process is the offset of an open-file-description lock: the
// kernel keeps it in memory, and any process may ask for it that can read the file. A read
// lock says nothing, because each of them can set one, too.

// LockOffset announces the number n, at least 0, in an open file. Numbers that were
// announced there stay: see UnlockOffset. The error is a plain errno.
func LockOffset(fd int, n int64) error { return lockOffset(fd, unix.F_WRLCK, n, 1) }

// UnlockOffset withdraws one number. The error is a plain errno.
func UnlockOffset(fd int, n int64) error { return lockOffset(fd, unix.F_UNLCK, n, 1) }

// UnlockOffsets withdraws all numbers. Before a file is closed it must be called: see
// Lock.Unlock. The error is a plain errno.
func UnlockOffsets(fd int) error { return lockOffset(fd, unix.F_UNLCK, 0, 0) }

func lockOffset(fd int, kind int16, at, length int64) error {
	return sys.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: length})
}

// LockedOffset returns the number that a living process announces in an open file, one of
// them if there are several; ok is false if there is none. The error is a plain errno.
func LockedOffset(fd int) (n int64, ok bool, err error) {
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	err = sys.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask)
	if err != nil || ask.Type != unix.F_WRLCK {
		return 0, false, err
	}
	return ask.Start, true, nil
}
