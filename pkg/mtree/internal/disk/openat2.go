package disk

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// openat2 is openat2(2). It retries EAGAIN, which RESOLVE_BENEATH gives while
// something below is renamed. Where the call is refused a walk does the same.
func openat2(dirfd int, path string, how *unix.OpenHow) (int, error) {
	if !openat2Works() {
		return walkTo(dirfd, path, how)
	}
	for {
		fd, err := unix.Openat2(dirfd, path, how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// openat2State says whether the kernel answers openat2(2) to this process. Kernels
// before 5.6 do not know it, and filters of system calls (seccomp(2)), which cannot
// look into its arguments, refuse it: systemd's RestrictSUIDSGID= by ENOSYS, that of
// some containers by EPERM.
var openat2State atomic.Int32

const (
	openat2Untried int32 = iota
	openat2Known
	openat2Refused
)

// openat2Works tries once what would fail for no other reason.
func openat2Works() bool {
	switch openat2State.Load() {
	case openat2Known:
		return true
	case openat2Refused:
		return false
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	switch {
	case err == nil:
		_ = unix.Close(fd)
		openat2State.Store(openat2Known)
		return true
	case err == unix.EINTR || IsShort(err):
		return true // it is tried again
	}
	openat2State.Store(openat2Refused)
	return false
}

// walk opens a path one component after another, with the meaning that openat2(2)
// gives to what beneath asks for: no symlink is followed, ".." does not leave the
// first directory, and no mount is crossed if RESOLVE_NO_XDEV is wanted. Each
// component is opened by its single name below the one before, so nothing that is
// swapped in meanwhile leads out.
type walk struct {
	open  []int // the directories on the way down; the first is the caller's
	stay  bool  // on the mount of the first
	start mount
}

// walkTo is openat2 by a walk. Cost: openat and close for each component, and a statx
// unless mounts are crossed, with two more then.
func walkTo(dirfd int, path string, how *unix.OpenHow) (fd int, err error) {
	switch {
	case path == "":
		return -1, unix.ENOENT
	case path[0] == '/':
		return -1, unix.EXDEV
	}
	w := &walk{open: []int{dirfd}, stay: how.Resolve&unix.RESOLVE_NO_XDEV != 0}
	defer w.leave(1)
	if w.stay {
		if w.start, err = mountOf(dirfd, ""); err != nil {
			return -1, err
		}
	}
	names := strings.Split(path, "/")
	for _, name := range names[:len(names)-1] {
		if err := w.enter(name); err != nil {
			return -1, err
		}
	}
	return w.last(names[len(names)-1], int(how.Flags))
}

// enter goes to the directory name.
func (w *walk) enter(name string) error {
	switch name {
	case "", ".":
		return nil
	case "..":
		if len(w.open) == 1 {
			return unix.EXDEV
		}
		w.leave(len(w.open) - 1)
		return nil
	}
	fd, err := OpenAt(w.here(), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if w.within(w.here(), name) == unix.EXDEV {
			return unix.EXDEV // the mount counts before what is there
		}
		return err
	}
	w.open = append(w.open, fd)
	return w.within(fd, "")
}

// last opens the last component of the path. What is on another mount is not even
// opened: it may be a device.
func (w *walk) last(name string, flags int) (int, error) {
	switch name {
	case "", ".", "..":
		if err := w.enter(name); err != nil {
			return -1, err
		}
		return OpenAt(w.here(), ".", flags, 0)
	}
	if err := w.within(w.here(), name); err != nil {
		return -1, err
	}
	fd, err := OpenAt(w.here(), name, flags, 0)
	if err != nil {
		return -1, err
	}
	if err := w.within(fd, ""); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *walk) here() int { return w.open[len(w.open)-1] }

// leave closes all directories but the first n.
func (w *walk) leave(n int) {
	for _, fd := range w.open[n:] {
		_ = unix.Close(fd)
	}
	w.open = w.open[:n]
}

// within returns EXDEV if name below fd, or fd itself if name is "", is on another
// mount than the first directory and must not be.
func (w *walk) within(fd int, name string) error {
	if !w.stay {
		return nil
	}
	m, err := mountOf(fd, name)
	if err == nil && m.another(w.start) {
		err = unix.EXDEV
	}
	return err
}

// mount tells one mount from another by its number or, before Linux 5.8, by the
// device of its directories.
type mount struct {
	id  uint64 // 0: not told
	dev uint64
	dir bool
}

// another reports whether m is another mount than that of the directory start. Of
// files their device says nothing, for overlayfs tells them by those below it.
func (m mount) another(start mount) bool {
	if m.id != 0 && start.id != 0 {
		return m.id != start.id
	}
	return m.dir && m.dev != start.dev
}

// mountOf returns the mount of name below fd, or of fd itself if name is "".
func mountOf(fd int, name string) (mount, error) {
	const flags = unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	var stx unix.Statx_t
	err := unix.EINTR
	for err == unix.EINTR {
		err, _ = unix.Statx(fd, name, flags, unix.STATX_TYPE|unix.STATX_MNT_ID, &stx).(unix.Errno)
	}
	if err != 0 {
		return mount{}, err
	}
	m := mount{dev: unix.Mkdev(stx.Dev_major, stx.Dev_minor), dir: stx.Mode&unix.S_IFMT == unix.S_IFDIR}
	if stx.Mask&unix.STATX_MNT_ID != 0 {
		m.id = stx.Mnt_id
	}
	return m, nil
}
