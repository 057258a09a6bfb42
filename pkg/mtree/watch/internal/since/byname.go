package since

import (
	"maps"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
)

// dirChange is what the batches say about one directory.
type dirChange struct {
	names   map[string]bool // with a slash behind directories
	unknown bool
	below   bool
}

// byName tells what the batches name. A directory that arrived is told with all below it, so
// what else the batches say of that is left out.
func (t *telling) byName(batches []journal.Batch) error {
	changed := merge(batches)
	for _, path := range slices.SortedFunc(maps.Keys(changed), mtree.TreeOrder) {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if !isBelow(changed, path) && !t.Exclude.Hides(path, true) {
			if err := t.change(path, changed); err != nil {
				return err
			}
		}
	}
	return nil
}

// merge merges the lines of each directory.
func merge(batches []journal.Batch) map[string]*dirChange {
	changed := map[string]*dirChange{}
	for _, b := range batches {
		for _, l := range b.Lines {
			c := changed[l.Path]
			if c == nil {
				c = &dirChange{names: map[string]bool{}}
				changed[l.Path] = c
			}
			c.unknown, c.below = c.unknown || l.Unknown, c.below || l.Below
			for _, name := range l.Names {
				c.names[name] = true
			}
		}
	}
	return changed
}

// isBelow reports whether nothing is known below a directory above path.
func isBelow(changed map[string]*dirChange, path string) bool {
	for path != "" {
		path = mtree.ParentPath(path)
		if c := changed[path]; c != nil && c.below {
			return true
		}
	}
	return false
}

// change tells of one directory.
func (t *telling) change(path string, changed map[string]*dirChange) error {
	c := changed[path]
	if gone := t.gone(path); gone != "" { // guard: TestToldIsGone
		t.once(gone, false)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		name, isDir := strings.CutSuffix(name, "/")
		t.named(mtree.JoinPath(path, name), isDir, changed)
	}
	switch {
	case c.below:
		return t.open(path, all)
	case c.unknown:
		return t.open(path, recent)
	}
	return nil
}

// named tells a name of a directory. A directory that has changes of its own is told by these: its
// name stands in the line above it, because its stamp is an entry there. In the place of one that is
// excluded there was a file, which nobody excludes: all of the directory above is to be looked at.
func (t *telling) named(path string, isDir bool, changed map[string]*dirChange) {
	switch {
	case isDir && changed[path] == nil && t.Exclude.Hides(path, true) && !t.Exclude.Hides(path, false): // guard: TestToldWhereAFileBecameAnExcludedDirectory
		t.once(mtree.ParentPath(path), true)
	case t.Exclude.Hides(path, isDir):
	case isDir && changed[path] != nil:
	case isDir && t.isDir(path):
		t.once(path, true)
	default:
		t.once(path, false)
	}
}

// isDir reports whether there is a directory at path.
func (t *telling) isDir(path string) bool {
	info, err := t.Root.StatPath(path, t.CrossMounts)
	return err == nil && info.Kind == mtree.Dir
}

// gone returns the path of what is no directory any more, of the directory at path and those
// above it; "" if all are there. What cannot be looked at is there.
func (t *telling) gone(path string) (gone string) {
	for path != "" {
		info, err := t.Root.StatPath(path, t.CrossMounts)
		if err == nil && info.Kind == mtree.Dir {
			return gone
		}
		if err == nil || disk.IsGone(err) {
			gone = path
		}
		path = mtree.ParentPath(path)
	}
	return gone
}
