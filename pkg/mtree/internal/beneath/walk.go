package beneath

import (
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// walk opens a path one component after another, with the meaning of openat2(2) as
// Open asks for: no symlink is followed, ".." does not leave the first directory, and
// with RESOLVE_NO_XDEV no mount is crossed. Each component is opened by its single name
// below the one before, so nothing that is put there meanwhile leads out.
type walk struct {
	open  []int // the directories on the way down; the first is the caller's
	stay  bool  // on the mount of the first
	start mount
}

// walkTo is openat2 by a walk. Cost: openat and close for each component; unless mounts
// are crossed also a statx for each, and two more.
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

// enter goes on to the directory name.
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
	fd, err := sys.Openat(w.here(), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if w.within(w.here(), name) == unix.EXDEV {
			return unix.EXDEV // the mount counts before what is there
		}
		return err
	}
	w.open = append(w.open, fd)
	return w.within(fd, "")
}

// last opens the last component of the path. It does not even open what is on another
// mount, because that may be a device.
func (w *walk) last(name string, flags int) (int, error) {
	switch name {
	case "", ".", "..":
		if err := w.enter(name); err != nil {
			return -1, err
		}
		return sys.Openat(w.here(), ".", flags, 0)
	}
	if err := w.within(w.here(), name); err != nil {
		return -1, err
	}
	fd, err := sys.Openat(w.here(), name, flags, 0)
	if err != nil {
		return -1, err
	}
	if err := w.within(fd, ""); err != nil {
		_ = sys.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *walk) here() int { return w.open[len(w.open)-1] }

// leave closes all directories except for the first n.
func (w *walk) leave(n int) {
	for _, fd := range w.open[n:] {
		_ = sys.Close(fd)
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

// mount distinguishes mounts by their numbers or, before Linux 5.8, by the devices of
// their directories.
type mount struct {
	id  uint64 // 0: not known
	dev uint64
	dir bool
}

// another reports whether m is another mount than that of the directory start. The
// device of a file proves nothing, because overlayfs shows those of its layers.
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
	if err := sys.Statx(fd, name, flags, unix.STATX_TYPE|unix.STATX_MNT_ID, &stx); err != nil {
		return mount{}, err
	}
	m := mount{dev: unix.Mkdev(stx.Dev_major, stx.Dev_minor), dir: stx.Mode&unix.S_IFMT == unix.S_IFDIR}
	if stx.Mask&unix.STATX_MNT_ID != 0 {
		m.id = stx.Mnt_id
	}
	return m, nil
}
