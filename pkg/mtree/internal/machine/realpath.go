package machine

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// RealPath is filepath.EvalSymlinks. No path to a tree in a simulation has a symlink.
func RealPath(path string) (string, error) {
	if sys.Simulated() == nil {
		return filepath.EvalSymlinks(path)
	}
	var is unix.Statx_t
	if err := sys.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE, &is); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return filepath.Clean(path), nil
}
