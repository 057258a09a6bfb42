package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// node is a directory that a pass looks at, from the moment it is known to
// differ until it is complete or incomplete. Only the pass's owner touches it:
// steps get a copy of its target.
type node struct {
	target
	parent  *node  // nil for the root
	mode    uint32 // as its parent lists it
	hasMode bool

	open       int                // visits, fetches, checks, deletions and children under way
	blocked    bool               // cannot be completed in this pass
	failed     bool               // something in it or below is not known as the source has it
	waits      bool               // for its deletions
	unreadable bool               // at the source: does not stop its parent from completing
	changed    bool               // something in it or below was changed
	proved     bool               // files of it were compared by sums: `now` is news
	visited    bool               // its listing arrived
	entries    int                // in its listing, filters applied
	before     records.Record     // what it had
	had        bool               // it had one
	deletions  []replica.Deletion // what completing it takes away
	approx     *source.Approx     // how well the source knows its files; nil: exactly
}

// newNode returns the node of a subdirectory of up, as it is listed there.
func newNode(up *node, e *mtree.Entry, doubts replica.Doubts, fresh bool) *node {
	return &node{
		target: target{path: mtree.JoinPath(up.path, e.Name), listed: e.MTime, doubts: doubts, fresh: fresh, nested: up.nested},
		parent: up, mode: e.Mode, hasMode: e.Has&mtree.HasMode != 0,
	}
}

// depth counts the directories above n.
func (n *node) depth() (depth int) {
	for up := n.parent; up != nil; up = up.parent {
		depth++
	}
	return depth
}

// fillsAside reports whether these files are all that the directory of n is to
// hold, and worth filling it aside.
func (n *node) fillsAside(files int) bool {
	return n.fresh && n.parent != nil && files >= leastFilled && files == n.entries
}
