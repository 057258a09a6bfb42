package trigger

import "tidemark/pkg/mtree"

// Change is one changed name.
type Change struct {
	Path  string      // below the root; a directory ends in a slash, "./" is the root
	Stamp mtree.Stamp // with which it was published
}
