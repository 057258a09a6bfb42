package disk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrWithin is returned where a --state-dir lies in the tree whose state it is to
// hold, or is its root: it would be published as part of it, and each write in there
// would be a change of the tree.
var ErrWithin = errors.New("the state directory lies within the tree")

// CheckStateDir returns ErrWithin if stateDir, or the directory that it is to be made
// in, is d or below it: by the directories above it, whatever symlinks lead there, and
// by what mountinfo tells of bind mounts, with crossMounts also of those below d. A
// stateDir that is "" is none, one that cannot be looked at is left to whoever opens
// it. Cost: two system calls for each directory above, two files of /proc.
func (d *Dir) CheckStateDir(stateDir string, crossMounts bool) error {
	if stateDir == "" {
		return nil
	}
	at, err := openPath(stateDir)
	if err == unix.ENOENT {
		up, _ := path.Split(strings.TrimRight(stateDir, "/"))
		at, err = openPath(up + ".")
	}
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	self, err := d.Self()
	if err != nil {
		return err
	}
	if isBelow(at, self.Node) || isMountedBelow(at, d.fd, crossMounts) {
		return fmt.Errorf("%q: %w", stateDir, ErrWithin)
	}
	return nil
}

func openPath(path string) (int, error) {
	return openat(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// isBelow reports whether the directory fd, or one above it, is top.
func isBelow(fd int, top Node) bool {
	fd, err := openat(fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for err == nil {
		var at, above Info
		if at, err = statFD(fd); err == nil && at.Node == top {
			_ = unix.Close(fd)
			return true
		}
		up := -1
		if err == nil {
			up, err = openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		_ = unix.Close(fd)
		if err != nil {
			return false
		}
		if above, err = statFD(up); err != nil || above.Node == at.Node {
			_ = unix.Close(up)
			return false
		}
		fd = up
	}
	return false
}

// isMountedBelow reports whether the directory fd is, on its file system, in what is
// mounted at the directory root, or with all at a place below that.
func isMountedBelow(fd, root int, all bool) bool {
	mounts, _ := readMounts() // without them nothing is found
	state, ok1 := placeOf(fd, mounts)
	top, ok2 := placeOf(root, mounts)
	if !ok1 || !ok2 {
		return false
	}
	if state.dev == top.dev && isIn(state.root, top.root) {
		return true
	}
	for _, m := range mounts {
		if all && isIn(m.point, top.point) && state.dev == m.dev && isIn(state.root, m.root) {
			return true
		}
	}
	return false
}

// placeOf returns where the directory fd is on its file system, and under which path
// it is seen.
func placeOf(fd int, mounts []mountLine) (mountLine, bool) {
	point, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	id := mountID(fd)
	for _, m := range mounts {
		if err == nil && m.id == id && isIn(point, m.point) {
			below := strings.TrimPrefix(point, strings.TrimSuffix(m.point, "/"))
			return mountLine{id: id, dev: m.dev, root: path.Join(m.root, below), point: point}, true
		}
	}
	return mountLine{}, false
}
