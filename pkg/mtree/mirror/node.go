package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// node is a directory that a pass looks at, from the moment it is known to
// differ until it is complete or given up. Steps read path, name, want, deep,
// fresh and nested; everything else belongs to the pass's owner.
type node struct {
	parent *node // nil for the root
	name   string
	path   string
	want   mtree.Entry    // as its parent lists it; zero for the root
	deep   bool           // its record and those below prove nothing
	more   replica.Doubts // what else is not trusted of it and of all below
	fresh  bool           // made in this pass
	nested bool           // it or one above it, in the copy, is the root of another tree or copy

	open      int            // visits, fetches, checks, deletions and children under way
	blocked   bool           // cannot be completed in this pass
	failed    bool           // something in it or below is not known as the source has it
	waits     bool           // for its deletions
	passed    bool           // not readable at the source: keeps its parent not from being complete
	changed   bool           // something in it or below was changed
	proved    bool           // files of it were compared by sums: `now` is news
	listed    bool           // its listing arrived
	entries   int            // in its listing, filters applied
	record    records.Record // what it will be completed with
	before    records.Record // what it had
	had       bool           // it had one
	vague     map[string]vague
	unless    map[string]bool    // files to fetch only if they changed
	deletions []replica.Deletion // what completing it takes away
}

// child returns the node of a subdirectory as the parent lists it.
func (n *node) child(e *mtree.Entry) *node {
	return &node{parent: n, name: e.Name, path: mtree.JoinPath(n.path, e.Name), want: *e, deep: n.deep, more: n.more, nested: n.nested}
}

// doubts is what begin is told of n.
func (n *node) doubts() replica.Doubts { return allDoubts(n.deep, n.more) }

func allDoubts(deep bool, more replica.Doubts) replica.Doubts {
	if deep {
		more |= replica.DoubtBelow
	}
	return more
}

// depth counts the directories above n.
func (n *node) depth() (depth int) {
	for up := n.parent; up != nil; up = up.parent {
		depth++
	}
	return depth
}
