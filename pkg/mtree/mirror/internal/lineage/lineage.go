package lineage

import (
	"log/slog"
	"strings"
	"time"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Options are what a claim depends on, in addition to the source and the copy.
type Options struct {
	Upstream  string   // the source as it is recorded in the copy: state.SourceName of SOURCE
	Sources   []string // of several sources the names, in the order in which they are preferred; Use says which is Upstream
	Selection []string // Selection.Rules; if they change, nothing is complete any more
	Adopt     bool     // the copy may become a copy of another tree, once
	Sums      bool     // the first full walk compares files of equal size and time by their sums
	Repair    bool     // a --verify --repair, which is no start without Adopt
	Log       *slog.Logger
}

// Lineage decides about a copy while a mirror keeps it. One goroutine uses it.
type Lineage struct {
	Options
	source  overlap.Source
	replica *replica.Replica
	guard   *overlap.Guard

	adopted  bool // Adopt was carried out, now or by an earlier start
	summed   bool // Sums was carried out
	outside  bool // the source lost its id, and was found not to be within the copy
	older    bool // the source shows an older state: Lineage.isOlder
	flapping flapping

	pause func(time.Duration) // tests note it
}

// New returns the lineage of a copy of src. SetReplica must follow.
func New(o Options, src overlap.Source) *Lineage {
	return &Lineage{Options: o, source: src, pause: func(d time.Duration) { <-time.After(d) }}
}

// Use makes one of several sources the one that the copy is made from.
func (l *Lineage) Use(name string) { l.Upstream = name }

// given names all sources in one text, for Tree.Adopted. A URL has no blanks, and the other names begin
// with "/" or "unix:/".
func (l *Lineage) given() string {
	if len(l.Sources) == 0 {
		return l.Upstream
	}
	return strings.Join(l.Sources, " ")
}

// Guard returns the guard that refuses a copy that would be copied into itself.
func (l *Lineage) Guard() *overlap.Guard { return l.guard }

// SetReplica sets the copy; it must be called again when the copy was opened anew. A start
// without Adopt is written down, so that a later start with it counts again. A repair is none: an
// Adopt that stays in a unit file would count once more for it.
func (l *Lineage) SetReplica(r *replica.Replica) error {
	l.replica, l.guard = r, &overlap.Guard{Source: l.source, Replica: r, DryRun: r.ReadOnly}
	if l.Adopt || r.ReadOnly || l.Repair { // guard (without l.Repair): TestARepairIsNoStartWithoutAdopt
		return nil
	}
	t := r.Tree()
	t.Adopted = ""
	return exit.With(exit.Local, r.SetTree(t), "")
}
