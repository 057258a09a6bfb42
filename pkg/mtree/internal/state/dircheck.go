package state

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/sys"
)

// ErrWithin is returned where a --state-dir lies in the tree whose state it is to
// hold, or is its root. It would be published as part of the tree, and each write in
// it would be a change of the tree.
var ErrWithin = errors.New("the state directory lies within the tree")

// CheckDir returns ErrWithin if stateDir, or the directory in which it is to be made,
// is root or below it. It follows the directories above stateDir, whatever symlinks
// lead there, and bind mounts by mountinfo; with crossMounts it also looks at the
// mounts below root. It accepts "", and a stateDir that it cannot look at: opening it
// will fail. Cost: two system calls for each directory above, two files of /proc.
func CheckDir(root *disk.Dir, stateDir string, crossMounts bool) error {
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
	defer sys.Close(at)
	within, err := machine.IsBelow(at, root.FD(), crossMounts)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: root.Path(), Err: err}
	}
	if within {
		return fmt.Errorf("%q: %w", stateDir, ErrWithin)
	}
	return nil
}

func openPath(path string) (int, error) {
	return disk.OpenAt(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
