package pass

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// noteUncopied records how many entries of a compared directory are not copied.
func (p *pass) noteUncopied(path string, count int64) {
	room := len(p.uncopied) < replica.MostUncopied // in a tree without an end most directories are too deep
	if count > 0 && room || p.env.Replica.Uncopied()[path] > 0 {
		p.uncopied[path] = count
	}
}

// addUncopied records that entries of a compared directory are not copied that the source may
// not read: that shows only when they are asked for.
func (p *pass) addUncopied(path string, count int64) {
	if count > 0 {
		p.noteUncopied(path, p.uncopied[path]+count)
	}
}

// isDeleted reports whether the pass deleted the directory at path, or one above it.
func (p *pass) isDeleted(path string) bool {
	for ; path != ""; path = mtree.ParentPath(path) {
		if p.goneDirs[path] {
			return true
		}
	}
	return false
}
