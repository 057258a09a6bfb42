package selfcopy

import (
	"fmt"
	"path/filepath"
	"strings"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// CheckPaths refuses a copy inside its source, which would copy itself for ever, and a
// source inside its copy, which would be deleted. Both are directories of this machine,
// and need not exist yet.
func CheckPaths(from, to string) error {
	a, err := replica.Resolve(from)
	if err != nil {
		return nil // whoever opens it says so
	}
	b, err := replica.Resolve(to)
	if err != nil {
		return nil
	}
	if isWithin(a, b) || isWithin(b, a) {
		return exit.With(exit.Usage, fmt.Errorf("%q and %q lie within each other", from, to), "give two separate directories")
	}
	deviceA, insideA := machine.Location(a)
	deviceB, insideB := machine.Location(b)
	if deviceA != "" && deviceA == deviceB && (isWithin(insideA, insideB) || isWithin(insideB, insideA)) && deviceOf(a) == deviceOf(b) {
		return exit.With(exit.Refused, fmt.Errorf("%q and %q lie within each other, by a bind mount", from, to), "give two separate directories")
	}
	return nil
}

// deviceOf returns the device of a directory that may not exist yet. Subvolumes of
// btrfs, which are borders, share the device of their mount and not this one.
func deviceOf(path string) uint64 {
	for _, path := range []string{path, filepath.Dir(path)} {
		if dir, err := disk.OpenRoot(path); err == nil {
			info, err := dir.Self()
			_ = dir.Close()
			if err == nil {
				return info.Node.Dev
			}
		}
	}
	return 0
}

// isWithin reports whether path is dir or below it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// treeAbove returns the directory above path that is the root of the tree, or of a copy
// of it, by its id; "" if there is none. A copy in there would copy itself for ever, or
// be deleted. Directories that cannot be read are skipped. Cost: some five system calls
// for each directory above.
func treeAbove(path, treeID string) string {
	up, err := replica.Resolve(path)
	if err != nil || treeID == "" {
		return ""
	}
	for up != filepath.Dir(up) {
		up = filepath.Dir(up)
		if isRootOf(up, treeID) {
			return up
		}
	}
	return ""
}

// isRootOf reports whether the directory at path is the root of the tree, or of a copy
// of it.
func isRootOf(path, treeID string) bool {
	dir, err := disk.OpenRoot(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	tree, err := state.OwnTree(dir)
	return err == nil && tree.ID == treeID
}
