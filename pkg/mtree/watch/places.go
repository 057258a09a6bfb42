package watch

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
)

// A bind mount may show a directory or a file of the tree at a second place of it. A
// source hears it at one of them, and all of them change.

// overlap reports whether any two mounts show the same.
func overlap(at map[string]machine.Mounted) bool {
	for one, a := range at {
		for other, b := range at {
			if one != other && a.Dev == b.Dev && inside(a.Root, b.Root) {
				return true
			}
		}
	}
	return false
}

// inside reports whether path is outer or below it.
func inside(path, outer string) bool {
	return path == outer || outer == "" || outer == "/" || strings.HasPrefix(path, outer+"/")
}

// everywhere adds to what was heard at one place what it means for the others.
func (m *mounts) everywhere(heard []*notify.Heard) []*notify.Heard {
	if !m.twice {
		return heard
	}
	all := heard
	for _, h := range heard {
		for _, path := range m.others(h.Path) {
			also := *h
			also.Path = path
			all = append(all, &also)
		}
		for _, e := range h.Entries { // it may be mounted by itself
			for _, path := range m.others(mtree.JoinPath(h.Path, e.Name)) {
				if _, mounted := m.at[path]; mounted && path != "" {
					all = append(all, &notify.Heard{Path: mtree.ParentPath(path), Entries: []notify.Entry{{Name: mtree.BaseName(path)}}})
				}
			}
		}
	}
	return all
}

// others returns the other paths of what is at path.
func (m *mounts) others(path string) (paths []string) {
	own := m.mountOf(path)
	root := swap(path, own, m.at[own].Root)
	for place, other := range m.at {
		if place == own || other.Dev != m.at[own].Dev || !inside(root, other.Root) {
			continue
		}
		if there := swap(root, other.Root, place); m.mountOf(there) == place { // else it is covered
			paths = append(paths, there)
		}
	}
	return paths
}

// swap returns a path that begins with one directory as it is from another.
func swap(path, from, to string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, from), "/")
	switch {
	case rest == "":
		return to
	case to == "" || to == "/":
		return to + rest
	}
	return to + "/" + rest
}

// mountOf returns where the mount begins that path is on.
func (m *mounts) mountOf(path string) string {
	for path != "" {
		if _, mounted := m.at[path]; mounted {
			break
		}
		path = mtree.ParentPath(path)
	}
	return path
}
