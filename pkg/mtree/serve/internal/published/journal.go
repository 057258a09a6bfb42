package published

import (
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Journal returns what the keeper of the tree wrote down of changed names until now: all that
// had been stamped before the call. Of it may be told what TellsDir allows, and of the names what
// Lister does. The error is journal.ErrUnproved where it proves nothing, as in a state in which
// no live program keeps the stamps. Cost: some 20 system calls.
func (t *Tree) Journal(s *Snapshot) (journal.View, error) {
	if s.Tree.ID == "" || s.Replaced || s.Unread || !isKept(s.State) { // guard: TestPartsWhereNobodyKeepsTheStamps
		return journal.View{}, fmt.Errorf("%w: nobody keeps the stamps of the tree now", journal.ErrUnproved)
	}
	m, err := state.OpenMarker(t.root, t.cfg.StateDir)
	if err != nil {
		return journal.View{}, err
	}
	defer m.Close()
	return t.journal.Read(m, journal.Tree{ID: s.Tree.ID, Epoch: s.Tree.Epoch})
}

// changed returns the names in a directory that changed since it was seen with a stamp, as
// lister.Lister.Changed wants them.
func (t *Tree) changed(s *Snapshot, path string, stamp mtree.Stamp) ([]string, error) {
	view, err := t.Journal(s)
	if err != nil {
		return nil, err
	}
	told := view.Told(path, stamp)
	early := true
	for _, span := range told.Spans {
		if span.Contains(stamp) {
			return told.Names, nil
		}
		early = early && span.To.Before(stamp)
	}
	if told.Whole || !early { // guard: TestNamesThatNobodyWroteDown
		return nil, journal.ErrUnproved
	}
	return nil, lister.ErrEarly
}

// isKept reports whether a live program keeps the stamps of a tree in this state, and hears
// everything.
func isKept(s wire.State) bool {
	return s == wire.Watched || s == wire.Auditing || s == wire.Mirrored
}

// TellsDir reports whether the path of a changed directory may be told: not if by its bytes it is
// not published.
func (t *Tree) TellsDir(path string) bool {
	return !t.Hides(path, true) && mtree.CheckPath(path) == nil && !t.Now().filters.Hides(path, true)
}
