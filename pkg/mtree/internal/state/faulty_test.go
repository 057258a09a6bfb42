package state

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// faulty is a machine in memory of which single calls fail. A call is named by what it is
// and by the last part of the path that it concerns: "fsync .tree.new".
type faulty struct {
	sys.Kernel
	machine *simkernel.Kernel
	shell   simkernel.Shell
	fail    func(call string) error              // nil: none fails
	show    func(call string, stx *unix.Statx_t) // changes what statx says
	calls   []string
	open    map[int]string // last parts of the paths of descriptors
	read    int            // bytes
}

// newFaulty simulates a machine with a tree, and returns it with the tree's marker.
func newFaulty(t *testing.T) (*faulty, *Marker) {
	machine := simkernel.New(simkernel.Options{})
	k := &faulty{Kernel: machine.Start("watch", 0), machine: machine, shell: machine.Shell(0), open: map[int]string{}}
	t.Cleanup(sys.Simulate(k))
	require.NoError(t, k.shell.Mkdir("/tree", 0o755))
	root, err := disk.OpenRoot("/tree")
	require.NoError(t, err)
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	return k, m
}

// refuse lets a call fail, from now on, for some times.
func (k *faulty) refuse(call string, err error, times int) {
	k.fail = func(made string) error {
		if made != call || times == 0 {
			return nil
		}
		times--
		return err
	}
}

// refuseNth lets only the n-th of these calls fail.
func (k *faulty) refuseNth(call string, n int, err error) {
	k.fail = func(made string) error {
		if made == call {
			if n--; n == 0 {
				return err
			}
		}
		return nil
	}
}

// asked notes a call, and returns the error with which it is to fail.
func (k *faulty) asked(what string, fd int, name string) (call string, err error) {
	if name = path.Base(name); name == "." || name == "" {
		name = k.open[fd]
	}
	call = what + " " + name
	k.calls = append(k.calls, call)
	if k.fail != nil {
		err = k.fail(call)
	}
	return call, err
}

// made reports how many of the calls since the last time begin so.
func (k *faulty) made(begin string) (n int) {
	for _, call := range k.calls {
		if strings.HasPrefix(call, begin) {
			n++
		}
	}
	k.calls = nil
	return n
}

func (k *faulty) opened(fd int, call string, err error) (int, error) {
	if err == nil {
		_, k.open[fd], _ = strings.Cut(call, " ")
	}
	return fd, err
}

func (k *faulty) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	call, err := k.asked("open", dirfd, path)
	if err != nil {
		return -1, err
	}
	fd, err := k.Kernel.Openat(dirfd, path, flags, mode)
	return k.opened(fd, call, err)
}

func (k *faulty) Openat2(dirfd int, path string, how unix.OpenHow) (int, error) {
	call, err := k.asked("open", dirfd, path)
	if err != nil {
		return -1, err
	}
	fd, err := k.Kernel.Openat2(dirfd, path, how)
	return k.opened(fd, call, err)
}

// Close closes, also when it fails.
func (k *faulty) Close(fd int) error {
	_, err := k.asked("close", fd, "")
	delete(k.open, fd)
	if closeErr := k.Kernel.Close(fd); closeErr != nil {
		return fmt.Errorf("closed twice: %w", closeErr)
	}
	return err
}

func (k *faulty) Mkdirat(dirfd int, path string, mode uint32) error {
	if _, err := k.asked("mkdir", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Mkdirat(dirfd, path, mode)
}

func (k *faulty) Unlinkat(dirfd int, path string, flags int) error {
	if _, err := k.asked("unlink", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Unlinkat(dirfd, path, flags)
}

func (k *faulty) Renameat2(olddirfd int, oldpath string, newdirfd int, newpath string, flags uint) error {
	if _, err := k.asked("rename", newdirfd, newpath); err != nil {
		return err
	}
	return k.Kernel.Renameat2(olddirfd, oldpath, newdirfd, newpath, flags)
}

func (k *faulty) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	call, err := k.asked("statx", dirfd, path)
	if err != nil {
		return unix.Statx_t{}, err
	}
	stx, err := k.Kernel.Statx(dirfd, path, flags, mask)
	if k.show != nil && err == nil {
		k.show(call, &stx)
	}
	return stx, err
}

func (k *faulty) Fstatfs(fd int) (unix.Statfs_t, error) {
	if _, err := k.asked("statfs", fd, ""); err != nil {
		return unix.Statfs_t{}, err
	}
	return k.Kernel.Fstatfs(fd)
}

func (k *faulty) Fchmodat(dirfd int, path string, mode uint32, flags int) error {
	if _, err := k.asked("chmod", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Fchmodat(dirfd, path, mode, flags)
}

func (k *faulty) Utimensat(dirfd int, path string, times [2]unix.Timespec, flags int) error {
	if _, err := k.asked("utimes", dirfd, path); err != nil {
		return err
	}
	return k.Kernel.Utimensat(dirfd, path, times, flags)
}

func (k *faulty) Fsetxattr(fd int, name string, value []byte, flags int) error {
	if _, err := k.asked("setxattr", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Fsetxattr(fd, name, value, flags)
}

func (k *faulty) Pread(fd, room int, offset int64) ([]byte, error) {
	if _, err := k.asked("read", fd, ""); err != nil {
		return nil, err
	}
	text, err := k.Kernel.Pread(fd, room, offset)
	k.read += len(text)
	return text, err
}

func (k *faulty) Pwrite(fd int, p []byte, offset int64) (int, error) {
	if _, err := k.asked("write", fd, ""); err != nil {
		return 0, err
	}
	return k.Kernel.Pwrite(fd, p, offset)
}

func (k *faulty) Ftruncate(fd int, length int64) error {
	if _, err := k.asked("truncate", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Ftruncate(fd, length)
}

func (k *faulty) Fsync(fd int) error {
	if _, err := k.asked("fsync", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Fsync(fd)
}

func (k *faulty) Flock(fd, how int) error {
	if _, err := k.asked("flock", fd, ""); err != nil {
		return err
	}
	return k.Kernel.Flock(fd, how)
}

func (k *faulty) FcntlFlock(fd uintptr, cmd int, lock unix.Flock_t) (unix.Flock_t, error) {
	if _, err := k.asked("fcntl", int(fd), ""); err != nil {
		return lock, err
	}
	return k.Kernel.FcntlFlock(fd, cmd, lock)
}

func (k *faulty) ReadFile(path string) ([]byte, error) {
	if _, err := k.asked("proc", -1, path); err != nil {
		return nil, err
	}
	return k.Kernel.ReadFile(path)
}
