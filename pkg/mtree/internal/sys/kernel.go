package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// Kernel answers system calls in a simulation. Its methods have the meaning of those of
// package unix; results are returned instead of being written through pointers. Errors
// are plain errnos.
type Kernel interface {
	// Names.
	Openat(dirfd int, path string, flags int, mode uint32) (int, error)
	Openat2(dirfd int, path string, how unix.OpenHow) (int, error)
	Close(fd int) error
	Mkdirat(dirfd int, path string, mode uint32) error
	Unlinkat(dirfd int, path string, flags int) error
	Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint) error
	Linkat(olddirfd int, oldpath string, newdirfd int, newpath string, flags int) error
	Symlinkat(target string, dirfd int, path string) error
	Readlinkat(dirfd int, path string) (string, error)
	Getdents(fd int, room int) ([]byte, error)

	// Attributes.
	Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error)
	Fstatfs(fd int) (unix.Statfs_t, error)
	Fchmodat(dirfd int, path string, mode uint32, flags int) error
	Fchownat(dirfd int, path string, uid, gid, flags int) error
	Utimensat(dirfd int, path string, times [2]unix.Timespec, flags int) error
	Fsetxattr(fd int, name string, value []byte, flags int) error
	Fgetxattr(fd int, name string) (string, error)
	Flistxattr(fd int) (string, error)
	Fremovexattr(fd int, name string) error

	// Contents. An offset of -1 is that of the descriptor.
	Pread(fd int, room int, offset int64) ([]byte, error)
	Pwrite(fd int, p []byte, offset int64) (int, error)
	Seek(fd int, offset int64, whence int) (int64, error)
	Ftruncate(fd int, length int64) error
	Fsync(fd int) error
	Syncfs(fd int) error

	// Locks.
	Flock(fd, how int) error
	FcntlFlock(fd uintptr, cmd int, lock unix.Flock_t) (unix.Flock_t, error)
	FcntlInt(fd uintptr, cmd, arg int) (int, error)

	// Events. Await waits until there is something to read, or the descriptor is closed.
	InotifyInit1(flags int) (int, error)
	InotifyAddWatch(fd int, path string, mask uint32) (int, error)
	InotifyRmWatch(fd int, wd uint32) (int, error)
	Waiting(fd int) (int, error) // FIONREAD
	Await(fd int) error

	// The process and its machine.
	ReadFile(path string) ([]byte, error) // of /proc and /sys
	Readlink(path string) (string, error) // of /proc
	Boottime() time.Duration
	Now() time.Time
	Geteuid() int
	ClockSteps() <-chan struct{}   // sent to after each step of the clock
	MountChanges() <-chan struct{} // sent to when mounts came or went
	MountsChanged() bool           // since it was last asked
	Processors() int               // at least 1
	Order(n int) []int             // in which Select looks at n channels
	Turn(why string)               // waits like a call: another goroutine has set this one free
}

// kernel answers all calls; nil: the machine's does.
var kernel Kernel

// Simulate lets k answer all system calls until restore is called. Only a test may call
// it, and only while nothing else makes system calls through this package.
func Simulate(k Kernel) (restore func()) {
	was := kernel
	kernel = k
	return func() { kernel = was }
}

// Simulated returns the kernel of the simulation, nil if there is none.
func Simulated() Kernel { return kernel }
