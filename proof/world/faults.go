package world

import "time"

// faults are what is wrong in the world, or other than usual, until the next hard rest.
type faults struct {
	copyFull, copyReadOnly     bool
	sourceFull, sourceReadOnly bool
	copyTrouble, sourceTrouble bool // there was one of these
	mounted                    bool
	options                    bool // some program has, or had, other options or rights
	immutable                  bool
	border                     time.Time // another watch or mirror has run in the tree
	from                       string    // where mirror copies from: "", "other", "local"
	lost                       bool      // a marker was removed, a tree put back: more is compared than usual
}

// borderLasts is how long watch may take a directory for another's, and stamp nothing below
// it, after that one has ended; it is a second, on a machine that is not too busy.
const borderLasts = 5 * time.Second

// pure reports that nothing excuses a difference.
func (w *World) pure() bool {
	f := &w.faults
	if time.Since(f.border) < borderLasts {
		return false
	}
	return !f.copyFull && !f.copyReadOnly && !f.sourceFull && !f.sourceReadOnly && !f.mounted && !f.options && !f.lost && w.user == 0
}
