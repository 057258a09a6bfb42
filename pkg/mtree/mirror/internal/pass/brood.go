package pass

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// brood is directories that wait for their visits, all below one node. Each gets a node
// when it is its turn: a node takes half a kilobyte and its whole path, and a directory
// may have a million others in it.
type brood struct {
	up     *node
	doubts replica.Doubts // what is not trusted of them
	open   *unfinished    // as in Memory
	left   []child        // the next one at the end
}

// child is what the listing above says of a directory.
type child struct {
	name    string
	mtime   mtree.Stamp
	mode    uint32
	hasMode bool // it is listed with a mode
	fresh   bool // as in work.Target
	set     bool // the visit of up set its mode or owner
}

// newBrood returns the directories below up; set are the entries whose mode or owner its visit set.
// It shares no memory with the listing.
func newBrood(up *node, below, set []mtree.Change, doubts replica.Doubts, open *unfinished) *brood {
	b := &brood{up: up, doubts: doubts, open: open, left: make([]child, 0, len(below))}
	for _, c := range slices.Backward(below) {
		e := c.Want
		_, isSet := slices.BinarySearchFunc(set, e.Name, func(c mtree.Change, name string) int { return strings.Compare(c.Want.Name, name) })
		b.left = append(b.left, child{strings.Clone(e.Name), e.MTime, e.Mode, e.Has&mtree.HasMode != 0, work.IsFresh(c), isSet})
	}
	return b
}

// next takes the next directory out, and returns its node.
func (b *brood) next() *node {
	last := len(b.left) - 1
	c := b.left[last]
	b.left[last] = child{}
	b.left = b.left[:last]
	path := mtree.JoinPath(b.up.Path, c.name)
	return &node{
		Target: work.Target{Path: path, Listed: c.mtime, Doubts: b.doubts, Fresh: c.fresh, Past: b.up.Past, Nested: b.up.Nested, Open: b.open.has(path)},
		parent: b.up, mode: c.mode, hasMode: c.hasMode, set: c.set,
	}
}
