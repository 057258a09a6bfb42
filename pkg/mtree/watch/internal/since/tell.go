package since

import (
	"context"
	"errors"
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Tell writes the paths. Errors carry an exit code: exit.Refused on a copy, exit.Failed if
// directories could not be read, and all else was told. Cost by the journal: its new part, at
// most 8 MiB, and one open for each directory in which something changed. Else: a statx for
// each entry of each directory that has a stamp above the one asked for.
func Tell(ctx context.Context, q Question) error {
	p, err := q.Marker.Published()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if p.Tree.Role == state.Copy { // guard: TestToldCannotBeWritten
		return exit.With(exit.Refused, errors.New("this is a copy: its times are not those of its stamps"), "ask at the source")
	}
	if p.Status.CrossMounts != nil {
		q.CrossMounts = *p.Status.CrossMounts
	}
	t := telling{Question: q, list: newList(q), ctx: ctx, tree: p.Tree, borders: map[string]bool{}}
	for _, path := range p.Tree.Borders {
		if path, err := mtree.UnescapeName(path); err == nil {
			t.borders[path] = true
		}
	}
	if err := t.tell(p); err != nil {
		return err
	}
	if err := t.end(); err != nil {
		return exit.With(exit.Local, err, "")
	}
	if t.unreadable > 0 {
		return exit.With(exit.Failed, fmt.Errorf("%d directories could not be read", t.unreadable), "the rest was told")
	}
	return nil
}

// goOn is what to do where everything was told.
const goOn = "none is needed: the next time ask with the stamp of this answer"

// tell chooses the way.
func (t *telling) tell(p state.Published) error {
	root, err := t.Root.Self()
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	if p.State != wire.Watched && p.State != wire.Auditing { // guard: TestSinceWithoutAWatch
		t.Log.Warn("no watch hears this tree now: what it has not published is told after it ran again", "state", p.State, "remedy", "start watch")
	}
	if p.State.Prunes() && root.MTime == t.Since {
		return nil // each change that is published moves it; the last batch of the journal may be older
	}
	ahead := t.Since.After(root.MTime)
	batches, why := t.batches(p)
	switch {
	case why == "" && !ahead: // guard (without !ahead): TestSinceRefuses
		return t.byName(batches)
	case !p.State.Prunes(): // guard: TestSinceOfADegradedTree
		t.Log.Warn("everything is told: the stamps of this tree prove nothing now", "state", p.State, "remedy", "start watch, and ask again when it has audited")
	case ahead: // guard: TestSinceRefuses
		t.Log.Warn("everything is told: the tree never had this stamp, or its clock was set back since", "stamp", t.Since.String(), "root", root.MTime.String(), "remedy", goOn)
	case t.tree.Again.Has(t.Since): // guard: TestStampsThatComeAgainAreRecorded
		t.Log.Warn("everything is told: the stamp may be from before the clock was set back", "stamp", t.Since.String(), "remedy", goOn)
	default:
		t.Log.Info("going by the stamps: what is gone, and what came with older times, is told by its directory only", "why", why)
		return t.byStamp(root)
	}
	return t.everything(root)
}

// batches returns the batches of the journal since the stamp, or why they do not suffice. A
// stamp that may have come twice counts if the journal shows that the root had it in this run.
func (t *telling) batches(p state.Published) (batches []journal.Batch, why string) {
	if p.State != wire.Watched && p.State != wire.Auditing { // guard: TestSinceOfADegradedTree
		return nil, "no watch hears everything now"
	}
	var follower journal.Follower
	view, err := follower.Read(t.Marker, journal.Tree{ID: p.Tree.ID, Epoch: p.Tree.Epoch})
	if err != nil {
		return nil, err.Error()
	}
	batches, ok := view.Since(t.Since)
	if !ok {
		return nil, "the journal does not reach back to this stamp"
	}
	if t.tree.Again.Has(t.Since) && !hadStamp(batches, t.Since) { // guard: TestStampOfAnEarlierClock
		return nil, "the stamp may be from before the clock was set back"
	}
	return batches, ""
}

// hadStamp reports whether a batch shows that the root had the stamp.
func hadStamp(batches []journal.Batch, s mtree.Stamp) bool {
	for _, b := range batches {
		for _, l := range b.Lines {
			if l.Path == "" && l.Known && (mtree.Span{From: l.From, To: l.To}).Contains(s) {
				return true
			}
		}
	}
	return false
}
