package pass

import (
	"tidemark/pkg/mtree"
)

// noteUncopied records how many entries of a compared directory are not copied.
func (p *pass) noteUncopied(path string, count int64) {
	if count > 0 || p.env.Replica.Uncopied()[path] > 0 {
		p.uncopied[path] = count
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
