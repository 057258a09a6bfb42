package pass

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// news has the names in a directory that a pass changes, or may change. A child directory that
// the pass visits is one of them, because it may get another stamp. Names may be there twice.
type news struct {
	names   []string // those of directories end in "/"
	many    bool     // there are too many: names is empty
	isGiven bool     // a reader that has the directory's stamp lacks nothing else: Replica.Recall
}

// isEmpty reports whether nothing may change.
func (w *news) isEmpty() bool { return len(w.names) == 0 && !w.many }

func (w *news) add(names ...string) {
	if w.many || len(w.names)+len(names) > 4*journal.MaxNames {
		w.names, w.many = nil, true
		return
	}
	w.names = append(w.names, names...)
}

func (w *news) addChanges(changes []mtree.Change) {
	for i := range changes {
		w.addEntry(changes[i].Want.Name, changes[i].Want.Kind)
	}
}

// addEntry adds one name, without the text of the listing that it is part of: it waits until the
// directory is stamped.
func (w *news) addEntry(name string, kind mtree.Kind) {
	switch {
	case w.many:
		return
	case kind == mtree.Dir:
		name += "/"
	default:
		name = strings.Clone(name) // guard: TestFewChangesHoldNoListing
	}
	w.add(name)
}

func (w *news) addDeletions(some []replica.Deletion) {
	for i := range some {
		w.addEntry(some[i].Name(), some[i].Kind)
	}
}

// addVisit adds what a visit changed, what follows from it, and what it left undone.
func (w *news) addVisit(v *work.VisitResult) {
	for _, changes := range [][]mtree.Change{v.Plan.MakeDirs, v.Plan.MakeLinks, v.Plan.Fetch, v.Plan.Check, v.Plan.SetModes, v.Plan.Linked, v.Below} {
		w.addChanges(changes)
	}
	for _, e := range v.Plan.Extra {
		w.addEntry(e.Name, e.Kind)
	}
}
