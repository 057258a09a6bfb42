// Package faultkernel is a machine in memory of which single calls fail, for tests.
package faultkernel

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// Kernel answers the system calls of a program in a machine of simkernel. A call is named
// by what it is and by the last part of the path that it concerns: "fsync .tree.new".
type Kernel struct {
	sys.Kernel
	Machine *simkernel.Kernel
	Shell   simkernel.Shell                      // of user 0
	Fail    func(call string) error              // called before each call, which others may precede here; nil: none fails
	Show    func(call string, stx *unix.Statx_t) // changes what statx says
	ShowFS  func(st *unix.Statfs_t)              // changes what statfs says
	Calls   []string
	Open    map[int]string // last parts of the paths of descriptors
	Bytes   int            // that were read
	Mounts  string         // lines of the mount table after that of the root
	Mounted bool           // mounts came or went since somebody asked
	NoProc  bool           // nothing is mounted at /proc, and the program has no capabilities
	NoLinks bool           // the file system has neither hard links nor files without a name, as FAT

	mu sync.Mutex // of Calls, Open and Bytes: several goroutines may make calls
}

// New simulates a machine until the end of the test. uid is the user of the program.
func New(t testing.TB, uid uint32) *Kernel {
	machine := simkernel.New(simkernel.Options{})
	k := &Kernel{Kernel: machine.Start("program", uid), Machine: machine, Shell: machine.Shell(0), Open: map[int]string{}}
	t.Cleanup(sys.Simulate(k))
	return k
}

// Refuse lets a call fail, from now on, for some times.
func (k *Kernel) Refuse(call string, err error, times int) {
	var mu sync.Mutex
	k.Fail = func(made string) error {
		mu.Lock()
		defer mu.Unlock()
		if made != call || times == 0 {
			return nil
		}
		times--
		return err
	}
}

// RefuseNth lets only the n-th of these calls fail.
func (k *Kernel) RefuseNth(call string, n int, err error) {
	var mu sync.Mutex
	k.Fail = func(made string) error {
		mu.Lock()
		defer mu.Unlock()
		if made == call {
			if n--; n == 0 {
				return err
			}
		}
		return nil
	}
}

// Processors implements sys.Kernel: with one, the calls of a program are made one by one.
func (k *Kernel) Processors() int { return 1 }

// asked notes a call, and returns the error with which it is to fail.
func (k *Kernel) asked(what string, fd int, name string) (call string, err error) {
	k.mu.Lock()
	if name = path.Base(name); name == "." || name == "" {
		name = k.Open[fd]
	}
	call = what + " " + name
	k.Calls = append(k.Calls, call)
	k.mu.Unlock()
	if fail := k.fail(); fail != nil {
		err = fail(call)
	}
	return call, err
}

// fail returns Fail. A test may set it while goroutines of the program make calls, to what
// holds for none of these: the race detector need not look.
//
//go:norace
func (k *Kernel) fail() func(call string) error { return k.Fail }

// shows returns Show, as fail does Fail.
//
//go:norace
func (k *Kernel) shows() func(call string, stx *unix.Statx_t) { return k.Show }

// Made reports how many of the calls since the last time begin so.
func (k *Kernel) Made(begin string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, call := range k.Calls {
		if strings.HasPrefix(call, begin) {
			n++
		}
	}
	k.Calls = nil
	return n
}

func (k *Kernel) opened(fd int, call string, err error) (int, error) {
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		_, k.Open[fd], _ = strings.Cut(call, " ")
	}
	return fd, err
}

// Openat implements sys.Kernel.
func (k *Kernel) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	call, err := k.asked("open", dirfd, path)
	if err != nil {
		return -1, err
	}
	if k.NoLinks && flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return -1, unix.EOPNOTSUPP
	}
	fd, err := k.Kernel.Openat(dirfd, path, flags, mode)
	return k.opened(fd, call, err)
}

// Openat2 implements sys.Kernel.
func (k *Kernel) Openat2(dirfd int, path string, how unix.OpenHow) (int, error) {
	call, err := k.asked("open", dirfd, path)
	if err != nil {
		return -1, err
	}
	fd, err := k.Kernel.Openat2(dirfd, path, how)
	return k.opened(fd, call, err)
}

// Close implements sys.Kernel. It closes, also when it fails.
func (k *Kernel) Close(fd int) error {
	_, err := k.asked("close", fd, "")
	k.mu.Lock()
	delete(k.Open, fd)
	k.mu.Unlock()
	if closeErr := k.Kernel.Close(fd); closeErr != nil {
		return fmt.Errorf("closed twice: %w", closeErr)
	}
	return err
}

// Mkdirat implements sys.Kernel.
func (k *Kernel) Mkdirat(dirfd int, path string, mode uint32) error {
	if _, err := k.asked("mkdir", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Mkdirat(dirfd, path, mode)
}

// Unlinkat implements sys.Kernel.
func (k *Kernel) Unlinkat(dirfd int, path string, flags int) error {
	if _, err := k.asked("unlink", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Unlinkat(dirfd, path, flags)
}

// Renameat2 implements sys.Kernel.
func (k *Kernel) Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint) error {
	if _, err := k.asked("rename", newdirfd, newpath); err != nil {
		return err
	}
	return k.Kernel.Renameat2(olddirfd, oldpath, newdirfd, newpath, flags)
}

// Symlinkat implements sys.Kernel.
func (k *Kernel) Symlinkat(target string, dirfd int, path string) error {
	if _, err := k.asked("symlink", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Symlinkat(target, dirfd, path)
}

// Statx implements sys.Kernel.
func (k *Kernel) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	call, err := k.asked("statx", dirfd, path)
	if err != nil {
		return unix.Statx_t{}, err
	}
	stx, err := k.Kernel.Statx(dirfd, path, flags, mask)
	if show := k.shows(); show != nil && err == nil {
		show(call, &stx)
	}
	return stx, err
}

// Fstatfs implements sys.Kernel.
func (k *Kernel) Fstatfs(fd int) (unix.Statfs_t, error) {
	if _, err := k.asked("statfs", fd, ""); err != nil {
		return unix.Statfs_t{}, err
	}
	st, err := k.Kernel.Fstatfs(fd)
	if k.ShowFS != nil {
		k.ShowFS(&st)
	}
	return st, err
}

// Fchmodat implements sys.Kernel.
func (k *Kernel) Fchmodat(dirfd int, path string, mode uint32, flags int) error {
	if _, err := k.asked("chmod", dirfd, path); err != nil {
		return err
	}
	if k.lacks(path) {
		return unix.ENOENT
	}
	return k.Kernel.Fchmodat(dirfd, path, mode, flags)
}

// Fchownat implements sys.Kernel.
func (k *Kernel) Fchownat(dirfd int, path string, uid, gid, flags int) error {
	if _, err := k.asked("chown", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Fchownat(dirfd, path, uid, gid, flags)
}

// Utimensat implements sys.Kernel.
func (k *Kernel) Utimensat(dirfd int, path string, times [2]unix.Timespec, flags int) error {
	if _, err := k.asked("utimes", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Utimensat(dirfd, path, times, flags)
}

// Fsetxattr implements sys.Kernel.
func (k *Kernel) Fsetxattr(fd int, name string, value []byte, flags int) error {
	if _, err := k.asked("setxattr", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Fsetxattr(fd, name, value, flags)
}

// Fgetxattr implements sys.Kernel.
func (k *Kernel) Fgetxattr(fd int, name string) (string, error) {
	if _, err := k.asked("getxattr", fd, ""); err != nil {
		return "", err
	}
	return k.Kernel.Fgetxattr(fd, name)
}

// Getdents implements sys.Kernel.
func (k *Kernel) Getdents(fd, room int) ([]byte, error) {
	if _, err := k.asked("list", fd, ""); err != nil {
		return nil, err
	}
	return k.Kernel.Getdents(fd, room)
}

// Pread implements sys.Kernel.
func (k *Kernel) Pread(fd, room int, offset int64) ([]byte, error) {
	if _, err := k.asked("read", fd, ""); err != nil {
		return nil, err
	}
	text, err := k.Kernel.Pread(fd, room, offset)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Bytes += len(text)
	return text, err
}

// Pwrite implements sys.Kernel.
func (k *Kernel) Pwrite(fd int, p []byte, offset int64) (int, error) {
	if _, err := k.asked("write", fd, ""); err != nil {
		return 0, err
	}
	return k.Kernel.Pwrite(fd, p, offset)
}

// Ftruncate implements sys.Kernel.
func (k *Kernel) Ftruncate(fd int, length int64) error {
	if _, err := k.asked("truncate", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Ftruncate(fd, length)
}

// Syncfs implements sys.Kernel.
func (k *Kernel) Syncfs(fd int) error {
	if _, err := k.asked("syncfs", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Syncfs(fd)
}

// Fsync implements sys.Kernel.
func (k *Kernel) Fsync(fd int) error {
	if _, err := k.asked("fsync", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Fsync(fd)
}

// Flock implements sys.Kernel.
func (k *Kernel) Flock(fd, how int) error {
	if _, err := k.asked("flock", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Flock(fd, how)
}

// FcntlFlock implements sys.Kernel.
func (k *Kernel) FcntlFlock(fd uintptr, cmd int, lock unix.Flock_t) (unix.Flock_t, error) {
	if _, err := k.asked("fcntl", int(fd), ""); err != nil {
		return lock, err
	}
	return k.Kernel.FcntlFlock(fd, cmd, lock)
}

// ReadFile implements sys.Kernel.
func (k *Kernel) ReadFile(path string) ([]byte, error) {
	if _, err := k.asked("proc", -1, path); err != nil {
		return nil, err
	}
	if k.lacks(path) {
		return nil, unix.ENOENT
	}
	text, err := k.Kernel.ReadFile(path)
	if path == "/proc/self/mountinfo" {
		text = append(text, k.Mounts...)
	}
	return text, err
}

// MountsChanged implements sys.Kernel.
func (k *Kernel) MountsChanged() bool {
	changed := k.Mounted
	k.Mounted = false
	return changed
}

// Readlink implements sys.Kernel.
func (k *Kernel) Readlink(path string) (string, error) {
	if _, err := k.asked("proc", -1, path); err != nil {
		return "", err
	}
	if k.lacks(path) {
		return "", unix.ENOENT
	}
	return k.Kernel.Readlink(path)
}

// InotifyInit1 implements sys.Kernel.
func (k *Kernel) InotifyInit1(flags int) (int, error) {
	if _, err := k.asked("inotify", -1, ""); err != nil {
		return -1, err
	}
	return k.Kernel.InotifyInit1(flags)
}

// Waiting implements sys.Kernel.
func (k *Kernel) Waiting(fd int) (int, error) {
	if _, err := k.asked("waiting", -1, "inotify"); err != nil {
		return 0, err
	}
	return k.Kernel.Waiting(fd)
}

// InotifyAddWatch implements sys.Kernel.
func (k *Kernel) InotifyAddWatch(fd int, path string, mask uint32) (int, error) {
	if _, err := k.asked("watch", -1, path); err != nil {
		return -1, err
	}
	if k.lacks(path) {
		return -1, unix.ENOENT
	}
	return k.Kernel.InotifyAddWatch(fd, path, mask)
}
