package mounts

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
)

// table has the mounts below a root, by path; "" is the root itself.
type table map[string]machine.Mounted

// overlap reports whether any two mounts show the same directory or file.
func (t table) overlap() bool {
	for one, a := range t {
		for other, b := range t {
			if one != other && a.Dev == b.Dev && isWithin(a.Root, b.Root) {
				return true
			}
		}
	}
	return false
}

// isWithin reports whether path is outer or below it.
func isWithin(path, outer string) bool {
	return path == outer || outer == "" || outer == "/" || strings.HasPrefix(path, outer+"/")
}

// others returns the other paths of the file or directory at path.
func (t table) others(path string) (paths []string) {
	own := t.mountOf(path)
	root := rebase(path, own, t[own].Root)
	for place, other := range t {
		if place == own || other.Dev != t[own].Dev || !isWithin(root, other.Root) {
			continue
		}
		if there := rebase(root, other.Root, place); t.mountOf(there) == place { // else it is covered
			paths = append(paths, there)
		}
	}
	return paths
}

// mountOf returns the path of the mount that has path.
func (t table) mountOf(path string) string {
	for path != "" {
		if _, mounted := t[path]; mounted {
			break
		}
		path = mtree.ParentPath(path)
	}
	return path
}

// rebase moves a path from below the directory from to below the directory to.
func rebase(path, from, to string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, from), "/")
	switch {
	case rest == "":
		return to
	case to == "" || to == "/":
		return to + rest
	}
	return to + "/" + rest
}
