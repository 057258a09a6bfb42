package sourcetest

import (
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// showed notes what a listing of the directory at path tells of what came after snapshots.
func (t *Tree) showed(path string, l *mtree.Listing) {
	for _, s := range t.shots {
		s.passed = s.passed || l.Stamp.After(s.floor)
		was := &node{kind: mtree.Dir}
		if at := s.at(path); at != nil && at.kind == mtree.Dir {
			was = at
		}
		s.ahead = s.ahead || len(l.Entries) != len(was.below) || slices.ContainsFunc(l.Entries, func(e mtree.Entry) bool {
			n := was.below[e.Name]
			is := e
			is.Has, is.Same = is.Has&^mtree.HasSame, 0
			return n == nil || n.entry(e.Name) != is
		})
	}
}

// at returns what the snapshot has at path; nil if it has nothing there.
func (s *Snapshot) at(path string) *node {
	n := s.root
	for part := range strings.SplitSeq(path, "/") {
		if n != nil && part != "" {
			n = n.below[part]
		}
	}
	return n
}

// IsNoticed reports whether mirrors notice that the snapshot is put back. They do if they
// listed nothing newer, or a stamp that it does not have, or another run of watch. Between a change
// and its stamp they may have listed the change alone (docs/operations.md).
func (t *Tree) IsNoticed(s *Snapshot) bool {
	return !s.ahead || s.passed || wire.LatestRun(t.Runs) != wire.LatestRun(s.runs)
}
