package machine

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// IsBelow reports whether the directory fd is the directory root or lies below it: by
// the directories above fd, and by what mountinfo shows of bind mounts; with all also
// whether it lies in something that is mounted below root. The error is the errno of fstat
// of root. Cost: two system calls for each directory above, two files of /proc.
func IsBelow(fd, root int, all bool) (bool, error) {
	var top unix.Stat_t
	if err := sys.Fstat(root, &top); err != nil {
		return false, err
	}
	return isUnder(fd, &top) || isMountedBelow(fd, root, all), nil
}

// isUnder reports whether the directory fd, or one above it, is top.
func isUnder(fd int, top *unix.Stat_t) bool {
	fd, err := openDir(fd, ".")
	for err == nil {
		var at, above unix.Stat_t
		err = sys.Fstat(fd, &at)
		if err == nil && isSame(&at, top) {
			_ = sys.Close(fd)
			return true
		}
		up := -1
		if err == nil {
			up, err = openDir(fd, "..")
		}
		_ = sys.Close(fd)
		if err != nil {
			return false
		}
		if err = sys.Fstat(up, &above); err != nil || isSame(&above, &at) { // the root of all
			_ = sys.Close(up)
			return false
		}
		fd = up
	}
	return false
}

func isSame(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

func openDir(dirfd int, name string) (fd int, err error) {
	return sys.Openat(dirfd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// isMountedBelow reports whether the directory fd lies in the part of its file system
// that is mounted at the directory root; with all also at a place below root. Bind
// mounts can make it so although no directory above fd is root.
func isMountedBelow(fd, root int, all bool) bool {
	mounts, _ := readMounts() // without them nothing is found
	it, ok1 := placeOf(fd, mounts)
	top, ok2 := placeOf(root, mounts)
	if !ok1 || !ok2 {
		return false
	}
	if it.dev == top.dev && isIn(it.root, top.root) {
		return true
	}
	for _, m := range mounts {
		if all && isIn(m.point, top.point) && it.dev == m.dev && isIn(it.root, m.root) {
			return true
		}
	}
	return false
}

// placeOf returns where the directory fd lies on its file system, and the path at which
// it appears.
func placeOf(fd int, mounts []mountLine) (mountLine, bool) {
	point, err := sys.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	id := mountID(fd)
	for _, m := range mounts {
		if err == nil && m.id == id && isIn(point, m.point) {
			below := strings.TrimPrefix(point, strings.TrimSuffix(m.point, "/"))
			return mountLine{id: id, dev: m.dev, root: path.Join(m.root, below), point: point}, true
		}
	}
	return mountLine{}, false
}
