package beneath

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// Open opens path below the directory dirfd with these flags of open(2). O_CLOEXEC and
// O_NOFOLLOW are added: no symlink is followed, and one at the end of the path can be
// opened itself, by O_PATH. Without crossMounts no mount is crossed (EXDEV).
//
// Cost: one openat2(2). Where it is refused, openat and close for each component;
// unless mounts are crossed also a statx for each, and two more.
func Open(dirfd int, path string, flags uint64, crossMounts bool) (int, error) {
	how := howTo(flags, crossMounts)
	return openat2(dirfd, path, &how)
}

func howTo(flags uint64, crossMounts bool) unix.OpenHow {
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if !crossMounts {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	return how
}

// openat2 is openat2(2), or a walk where that is refused. It repeats EAGAIN, which
// RESOLVE_BENEATH gives while something below is renamed.
func openat2(dirfd int, path string, how *unix.OpenHow) (int, error) {
	if !openat2Works() {
		return walkTo(dirfd, path, how)
	}
	for {
		fd, err := sys.Openat2(dirfd, path, how)
		if err != unix.EAGAIN {
			return fd, err
		}
	}
}

// openat2State says whether the kernel answers openat2(2) to this process. Kernels
// before 5.6 do not know it. Filters of system calls (seccomp(2)), which cannot look
// into its arguments, refuse it: systemd's RestrictSUIDSGID= with ENOSYS, that of some
// containers with EPERM.
var openat2State atomic.Int32

const (
	openat2Untried int32 = iota
	openat2Known
	openat2Refused
)

// openat2Works reports whether openat2(2) works. It tries once, with a call that fails
// for no other reason.
func openat2Works() bool {
	switch openat2State.Load() {
	case openat2Known:
		return true
	case openat2Refused:
		return false
	}
	fd, err := sys.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	switch err {
	case nil:
		_ = sys.Close(fd)
		openat2State.Store(openat2Known)
		return true
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
		return true // the next call tries again
	}
	openat2State.Store(openat2Refused)
	return false
}
