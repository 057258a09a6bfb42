package state

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
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
func CheckDir(d *disk.Dir, stateDir string, crossMounts bool) error {
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
	if isBelow(at, self.Node) || machine.IsMountedBelow(at, d.FD(), crossMounts) {
		return fmt.Errorf("%q: %w", stateDir, ErrWithin)
	}
	return nil
}

func openPath(path string) (int, error) {
	return disk.OpenAt(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// isBelow reports whether the directory fd, or one above it, is top.
func isBelow(fd int, top disk.Node) bool {
	fd, err := disk.OpenAt(fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for err == nil {
		var at, above disk.Info
		if at, err = disk.StatFD(fd); err == nil && at.Node == top {
			_ = unix.Close(fd)
			return true
		}
		up := -1
		if err == nil {
			up, err = disk.OpenAt(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		_ = unix.Close(fd)
		if err != nil {
			return false
		}
		if above, err = disk.StatFD(up); err != nil || above.Node == at.Node {
			_ = unix.Close(up)
			return false
		}
		fd = up
	}
	return false
}
