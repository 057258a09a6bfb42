package mirror

import (
	"tidemark/pkg/mtree"
)

// noteUncopied counts those of a directory that was compared.
func (p *pass) noteUncopied(path string, count int64) {
	if count > 0 || p.dest.Uncopied()[path] > 0 {
		p.uncopied[path] = count
	}
}

// storeUncopied brings the file up to date: a full walk saw all there are.
func (p *pass) storeUncopied() error {
	return p.dest.UpdateUncopied(p.uncopied, p.isRemoved, p.result.complete && p.full)
}

// isRemoved reports whether the pass deleted the directory at path, or one above
// it.
func (p *pass) isRemoved(path string) bool {
	for ; path != ""; path = mtree.ParentPath(path) {
		if p.goneDirs[path] {
			return true
		}
	}
	return false
}
