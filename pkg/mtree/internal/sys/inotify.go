package sys

import (
	"strings"

	"golang.org/x/sys/unix"
)

// InotifyInit1 is inotify_init1(2).
func InotifyInit1(flags int) (int, error) {
	if kernel != nil {
		return kernel.InotifyInit1(flags)
	}
	return unix.InotifyInit1(flags)
}

// InotifyAddWatch is inotify_add_watch(2).
func InotifyAddWatch(fd int, path string, mask uint32) (int, error) {
	if kernel != nil {
		return kernel.InotifyAddWatch(fd, strings.Clone(path), mask)
	}
	return countAgain(func() (int, error) { return unix.InotifyAddWatch(fd, path, mask) })
}

// InotifyRmWatch is inotify_rm_watch(2).
func InotifyRmWatch(fd int, wd uint32) (int, error) {
	if kernel != nil {
		return kernel.InotifyRmWatch(fd, wd)
	}
	return countAgain(func() (int, error) { return unix.InotifyRmWatch(fd, wd) })
}

// Waiting returns how many bytes a queue of events holds: ioctl(FIONREAD).
func Waiting(fd int) (int, error) {
	if kernel != nil {
		return kernel.Waiting(fd)
	}
	return unix.IoctlGetInt(fd, unix.TIOCINQ) // FIONREAD by its other name
}
