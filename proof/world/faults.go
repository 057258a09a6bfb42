package world

// faults are what is wrong in the world, or other than usual, until the next hard rest.
type faults struct {
	copyFull, copyReadOnly     bool
	sourceFull, sourceReadOnly bool
	copyTrouble, sourceTrouble bool // there was one of these
	mounted                    bool
	unsure                     bool           // a change may have failed in the middle of a file
	options                    bool           // some program has, or had, other options or rights
	unread                     map[string]int // the modes of what may not be read
	immutable                  bool
	from                       string // where mirror copies from: "", "other", "local"
	lost                       bool   // a marker was removed, a tree put back: more is compared than usual
}

// pure reports that nothing excuses a difference.
func (w *World) pure() bool {
	f := &w.faults
	return !f.copyFull && !f.copyReadOnly && !f.sourceFull && !f.sourceReadOnly && !f.mounted && !f.options && !f.lost && w.user == 0
}
