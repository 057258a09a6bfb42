package mirror

import (
	"iter"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
)

// node is a directory that a pass looks at, from the moment it is known to
// differ until it is complete or given up. Steps read path, name, want, deep,
// fresh and nested; everything else belongs to the pass's owner.
type node struct {
	parent *node // nil for the root
	name   string
	path   string
	want   mtree.Entry // as its parent lists it; zero for the root
	deep   bool        // its record and those below prove nothing
	more   doubts      // what else is not trusted of it and of all below
	fresh  bool        // made in this pass
	nested bool        // it or one above it, in the copy, is the root of another tree or copy

	open    int            // visits, fetches, checks, deletions and children under way
	blocked bool           // cannot be completed in this pass
	failed  bool           // something in it or below is not known as the source has it
	waits   bool           // for its deletions
	passed  bool           // not readable at the source: keeps its parent not from being complete
	changed bool           // something in it or below was changed
	proved  bool           // files of it were compared by sums: `now` is news
	listed  bool           // its listing arrived
	entries int            // in its listing, filters applied
	record  records.Record // what it will be completed with
	before  records.Record // what it had
	had     bool           // it had one
	doomed  []doomed       // in the copy only
	approx  *srcApprox     // what its listing leaves open
	swaps   []swap         // files that replace directories
}

// doomed is an entry of the copy that the source no longer has.
type doomed struct {
	name    string
	kind    mtree.Kind
	mtime   mtree.Stamp
	entries int64 // with all below it

	why      string // it is held whatever else goes; "": not by itself
	released bool
}

// swap is a file or symlink, written aside, whose name a directory has.
type swap struct {
	doomed
	staged string // its name in the aside
}

// child returns the node of a subdirectory as the parent lists it.
func (n *node) child(e *mtree.Entry) *node {
	return &node{parent: n, name: e.Name, path: mtree.JoinPath(n.path, e.Name), want: *e, deep: n.deep, more: n.more, nested: n.nested}
}

// doubts is what begin is told of n.
func (n *node) doubts() doubts { return allDoubts(n.deep, n.more) }

func allDoubts(deep bool, more doubts) doubts {
	if deep {
		more |= doubtBelow
	}
	return more
}

// allDoomed yields what completing the node takes away.
func (n *node) allDoomed() iter.Seq[*doomed] {
	return func(yield func(*doomed) bool) {
		for i := range n.doomed {
			if !yield(&n.doomed[i]) {
				return
			}
		}
		for i := range n.swaps {
			if !yield(&n.swaps[i].doomed) {
				return
			}
		}
	}
}

// deletions counts the entries that completing the node takes away.
func (n *node) deletions() (total int64) {
	for d := range n.allDoomed() {
		total += d.entries
	}
	return total
}

// depth counts the directories above n.
func (n *node) depth() (depth int) {
	for up := n.parent; up != nil; up = up.parent {
		depth++
	}
	return depth
}
