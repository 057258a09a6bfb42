package mounts

import (
	"maps"
	"slices"
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
			for _, of := range layers(a) {
				if (one != other || of != a.Shown) && of.Dev == b.Dev && isWithin(of.Root, b.Root) {
					return true
				}
			}
		}
	}
	return false
}

// layers returns what the mounts at a place show: the one that shows, and those that it covers.
func layers(m machine.Mounted) []machine.Shown {
	return append([]machine.Shown{m.Shown}, m.Covered...) // guard (returns []machine.Shown{m.Shown}): TestOthersOfWhatIsCovered
}

// isWithin reports whether path is outer or below it. What was removed, and a mount still shows, is below nothing: the kernel
// adds "//deleted" to the path that it had.
func isWithin(path, outer string) bool {
	if rest, below := strings.CutPrefix(path, outer); below && strings.Contains(rest, "//") { // guard: TestOthersOfWhatWasRemoved
		return false
	}
	return path == outer || outer == "" || outer == "/" || strings.HasPrefix(path, outer+"/")
}

// others returns the other paths of the file or directory at path. Where something is mounted at or
// above path, fanotify may mean what that covers. It is shown elsewhere still, so this counts, too.
// inotify knows one place of each directory, and what is mounted in it by that place, also while another
// mount covers that: so what covers one of the other paths counts as well, and where that is shown.
func (t table) others(path string) (paths []string) {
	var covers []string
	add := func(at, own string) {
		for _, of := range layers(t[own]) {
			root := rebase(at, own, of.Root)
			for place, other := range t {
				if place == own && of == other.Shown || other.Dev != of.Dev || !isWithin(root, other.Root) {
					continue
				}
				there := rebase(root, other.Root, place)
				if there == path || slices.Contains(paths, there) { // guard (without there == path): TestOthers
					continue
				}
				paths = append(paths, there)
				if t.mountOf(there) != place {
					covers = append(covers, there)
				}
			}
		}
	}
	for own := t.mountOf(path); ; own = t.mountOf(mtree.ParentPath(own)) {
		add(path, own)
		if own == "" { // guard (always): TestOthers
			break
		}
	}
	for _, there := range slices.Clone(covers) { // not of those that this adds: it would not end
		add(there, t.mountOf(there))
	}
	return paths
}

// shownToo returns, in order, the other places of the directory or file at path, of those in it, and of
// what is mounted in it. The root is none of them: it stays heard where it is.
func (t table) shownToo(path string) []string {
	shown := map[string]bool{}
	add := func(at string) {
		for _, place := range t.others(at) {
			shown[place] = true
		}
		own := t.mountOf(at)
		root := rebase(at, own, t[own].Root)
		for place, m := range t {
			if place != own && m.Dev == t[own].Dev && isWithin(m.Root, root) {
				shown[place] = true // it shows a directory below
			}
		}
	}
	add(path)
	for place := range t {
		if place != path && isWithin(place, path) { // guard: TestShownToo
			add(place)
		}
	}
	maps.DeleteFunc(shown, func(place string, _ bool) bool { return place == "" || isWithin(place, path) })
	return slices.Sorted(maps.Keys(shown))
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
