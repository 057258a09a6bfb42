package replica

import (
	"errors"
	"path/filepath"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// CheckStateDir refuses a state directory within root, which is DEST or a local SOURCE.
func CheckStateDir(root *disk.Dir, stateDir string) error {
	err := state.CheckDir(root, stateDir, false)
	if errors.Is(err, state.ErrWithin) {
		return exit.With(exit.Usage, err, "give a --state-dir outside of SOURCE and DEST, or none: DEST/.tidemark is not published")
	}
	return exit.With(exit.Local, err, "")
}

// nameOf returns the name of a directory on its file system, also if it is reached
// through a bind mount; "" if it cannot be resolved.
func nameOf(path string) string {
	path, err := Resolve(path)
	if err != nil {
		return ""
	}
	if _, inside := machine.Location(path); inside != "" && inside != "/" {
		return filepath.Base(inside)
	}
	return filepath.Base(path)
}

// Resolve returns the real path of a directory that may not exist yet.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := machine.RealPath(path)
	if err == nil {
		return real, nil
	}
	up, err := machine.RealPath(filepath.Dir(path))
	return filepath.Join(up, filepath.Base(path)), err
}
