package world

import (
	"strings"
	"time"
)

// limit is what --min-size, --max-size or --max-age leaves out, as mirror-limits has it.
type limit struct {
	least, most int // bytes; 0: no bound
	age         time.Duration
}

// limitOf reads options of mirror.
func limitOf(options string) (l limit) {
	words := strings.Fields(options)
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "--min-size":
			l.least = number(words[i+1])
		case "--max-size":
			l.most = number(words[i+1])
		case "--max-age":
			l.age, _ = time.ParseDuration(words[i+1])
		}
	}
	return l
}

// leavesOut reports whether a file of that size and mtime is not fetched.
func (l limit) leavesOut(n *node) bool {
	return len(n.data) < l.least || l.most > 0 && len(n.data) > l.most || l.age > 0 && !n.mtime.IsZero() && time.Since(n.mtime) > l.age
}

// faults are what is wrong in the world, or other than usual, until the next hard rest.
type faults struct {
	copyFull, copyReadOnly     bool
	sourceFull, sourceReadOnly bool
	copyTrouble, sourceTrouble bool // there was one of these
	mounted                    bool
	options                    bool // some program has, or had, other options or rights
	immutable                  bool
	limits                     []limit   // what mirror left out, or leaves out
	border                     time.Time // another watch or mirror has run in the tree
	from                       string    // where mirror copies from: "", "other", "local"
	lost                       bool      // a marker was removed, a tree put back: more is compared than usual
}

// borderLasts is how long watch may take a directory for another's, and stamp nothing below
// it, after that one has ended; it is a second, on a machine that is not too busy.
const borderLasts = 5 * time.Second

// leavesOut reports whether a limit that mirror has, or had, leaves a file out.
func (w *World) leavesOut(n *node) bool {
	for _, l := range w.faults.limits {
		if n.kind == file && l.leavesOut(n) {
			return true
		}
	}
	return false
}

// pure reports that nothing excuses a difference.
func (w *World) pure() bool {
	f := &w.faults
	if time.Since(f.border) < borderLasts {
		return false
	}
	return !f.copyFull && !f.copyReadOnly && !f.sourceFull && !f.sourceReadOnly && !f.mounted && !f.options && !f.lost && w.user == 0
}
