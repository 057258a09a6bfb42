package lineage

import (
	"log/slog"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// Options is what a claim depends on besides the source and the copy.
type Options struct {
	Upstream  string   // the source as it is recorded in the copy: state.SourceName of SOURCE
	Selection []string // Selection.Rules: with other rules what was complete is not
	Adopt     bool     // the copy may become one of another tree, once
	Sums      bool     // the first full walk compares files of equal size and time by their sums
	Log       *slog.Logger
}

// Lineage decides about a copy as long as a mirror keeps it. One goroutine uses it.
type Lineage struct {
	Options
	source  overlap.Source
	replica *replica.Replica
	guard   *overlap.Guard

	adopted  bool // Adopt was carried out, or found done
	summed   bool // Sums was
	outside  bool // a source that lost its id was looked for in the copy, and is not there
	flapping flapping
}

// New returns the lineage of a copy of src. SetReplica must follow.
func New(o Options, src overlap.Source) *Lineage { return &Lineage{Options: o, source: src} }

// Guard returns what refuses a copy that would be copied into itself.
func (l *Lineage) Guard() *overlap.Guard { return l.guard }

// SetReplica says which copy it is; anew when it was opened anew. A start without Adopt
// is written down: the next one with it counts again.
func (l *Lineage) SetReplica(r *replica.Replica) error {
	l.replica, l.guard = r, &overlap.Guard{Source: l.source, Replica: r, DryRun: r.ReadOnly}
	t := r.Tree()
	if t.Adopted == "" || l.Adopt || r.ReadOnly {
		return nil
	}
	t.Adopted = ""
	return exit.With(exit.Local, r.SetTree(t), "")
}
