package pass

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// node is a directory that a pass visits, from the moment it is known to differ until
// it is ready or incomplete. Only the goroutine of the pass touches it: steps get a
// copy of its target.
type node struct {
	work.Target
	parent  *node  // nil for the root
	mode    uint32 // as its parent lists it
	hasMode bool   // it is listed with a mode
	set     bool   // the visit of its parent set its mode or owner

	open       int                // how many steps and children it waits for
	blocked    bool               // it cannot be completed in this pass
	failed     bool               // it is not known what the source has somewhere in it or below
	waits      bool               // it waits for its deletions
	unreadable bool               // the source may not read it: that does not stop its parent from completing
	changed    bool               // something in it or below was changed
	begun      bool               // its record says that it is unfinished, even if nothing in it was changed since
	proved     bool               // files of it were compared by sums: its record gets the listing's `now`
	visited    bool               // its listing arrived
	part       bool               // that is a part: it is not looked at by another one before it is complete
	later      bool               // as in work.VisitResult
	entries    int                // number of entries in its listing that no filter excludes
	files      int64              // of these entries: regular files
	bytes      int64              // sizes of these files
	now        mtree.Stamp        // of its listing: VisitResult.ReadAt
	mayBeLost  bool               // as in work.VisitResult
	uncompared bool               // something in it failed or moved: not all its files were compared, or written
	unflushed  bool               // as in work.VisitResult
	before     records.Record     // its record before the pass
	had        bool               // it had a record
	intact     bool               // as in work.VisitResult
	news       news               // what changes in it
	known      mtree.Stamp        // as in work.VisitResult
	deletions  []replica.Deletion // what must go before it is complete
	following  []mtree.Change     // files to link once the others have arrived: it is filled in the staging directory
	approx     *source.Approx     // how well the source knows its files; nil: exactly
}

// depth counts the directories above n.
func (n *node) depth() (depth int) {
	for up := n.parent; up != nil; up = up.parent {
		depth++
	}
	return depth
}

// isStaged reports whether the directory of n is filled in the staging directory: it
// holds nothing but these files, and others that are linked afterwards.
func (n *node) isStaged(files, following int) bool {
	return n.Fresh && n.parent != nil && files+following == n.entries && fetch.IsStaged(files)
}
