package lineage

import (
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// The status of a copy remembers which run of the source's watch was listed, and up to
// which stamp. If the source no longer knows that run, or says that it ended below that
// stamp, the source was rolled back to a snapshot or a backup.

// rolledBack returns what is doubted because the source was rolled back, if it was.
func (l *Lineage) rolledBack(root *source.Root) replica.Doubts {
	s := l.replica.Status()
	if s.SourceRun == "" || s.SourceTop == nil || len(root.Runs) == 0 || root.Tree.ID != l.replica.Tree().ID ||
		wire.RunReached(root.Runs, s.SourceRun, *s.SourceTop) {
		return 0
	}
	return replica.DoubtBytes // guard (returns 0): TestRolledBackAndWatched
}

// olderState says why nothing is deleted while the source shows what was before.
const olderState = "the source, itself a copy, shows an older state of the tree than this copy has seen"

// isOlder reports whether the source is a copy that shows an older state of the tree than
// this copy has seen: one of several behind an address whose mirror stands still, or one that
// was put back. Within a run of watch no stamp of the root goes back; and a source that was
// rolled back has a run that nobody has seen. The time of an unfinished root is no stamp: then
// the root counts of which the source was complete last, against those that were complete.
func (l *Lineage) isOlder(root *source.Root) bool {
	t, s, run := l.replica.Tree(), l.replica.Status(), wire.LatestRun(root.Runs)
	switch {
	case root.Upstreams == "" || run == "" || root.Tree.ID != t.ID || root.Tree.Epoch != followedEpoch(&t): // guard (followedEpoch(&t) -> t.Epoch): TestAnOlderStateOfAnOlderLineage
		return false
	case run != s.SourceRun:
		return slices.ContainsFunc(t.Runs, func(r wire.Run) bool { return r.ID == run }) // guard (returns false): TestAnOlderState
	case root.Hot:
		whole := wholeRoot(root)
		return whole != nil && s.SourceWhole != nil && whole.Before(*s.SourceWhole) // guard (returns false): TestAnOlderState
	}
	return s.SourceSure != nil && root.Stamp.Before(*s.SourceSure) // guard (returns false): TestAnOlderState
}

// followedEpoch returns the epoch of the source that is followed. With --no-delete it may be that of
// an older lineage for long.
func followedEpoch(t *state.Tree) uint64 {
	if t.Older != 0 {
		return t.Older
	}
	return t.Epoch
}

// isPast reports whether this listing of a source that is no copy is from before one that this copy has
// seen, perhaps with another mirror that has ended since: a cache answered that should not have.
// Within a run of watch no stamp of the root goes back; somebody may set its time back for a moment,
// but the source reads that later.
func (l *Lineage) isPast(root *source.Root) bool {
	t, s, run := l.replica.Tree(), l.replica.Status(), wire.LatestRun(root.Runs)
	return isKept(root) && run != "" && run == s.SourceRun && root.Tree.ID == t.ID &&
		root.Tree.Epoch == followedEpoch(&t) && // guard: TestARootOfThePast
		s.SourceWhole != nil && root.Stamp.Before(*s.SourceWhole) &&
		root.HasNow && s.SourceRead != nil && root.Now.Before(*s.SourceRead)
}

// isKept reports whether a watch runs in the source now, which is no copy.
func isKept(root *source.Root) bool {
	return root.Upstreams == "" && (root.State == wire.Watched || root.State == wire.Auditing || root.State == wire.Degraded)
}

// wholeRoot returns the latest stamp of the root of which the source certainly shows everything
// below it; nil: none is known. A source that is no copy shows it while a watch runs.
func wholeRoot(root *source.Root) *mtree.Stamp {
	up := wire.ParseUpstreams(root.Upstreams)
	switch {
	case root.Upstreams == "" && (!isKept(root) || root.HasNow && root.Stamp.After(root.Now)): // guard (without root.HasNow): TestARootOfThePast
		return nil
	case !root.Hot:
		stamp := root.Stamp
		return &stamp
	case len(up) == 0 || up[0].Root == mtree.Stamp{}:
		return nil
	}
	return &up[0].Root
}

// Listed notes, before anything is taken from the listing of a directory below the
// root, that this run of the source's watch was listed up to the listing's stamp. If the listing
// came hot from elsewhere than the root, it may be that of an unfinished copy of the source, and
// have no stamp.
func (l *Lineage) Listed(root *source.Root, listing *mtree.Listing, elsewhere bool) error {
	return l.noteRun(root, listing, !elsewhere && isStamp(root, listing, false)) // guard (without !elsewhere): TestTheTimeOfADirectoryFromElsewhere
}

// isStamp reports whether the time of a listing can be a stamp of the source's watch. If
// the source is a copy, the time of an unfinished directory is not a stamp. The time of
// the root always counts: a watch that starts anew counts it as a stamp of the run. Below
// the root the time counts only in a watched or mirrored tree: otherwise the kernel may
// have set it.
func isStamp(root *source.Root, l *mtree.Listing, isRoot bool) bool {
	switch {
	case l.Hot && root.Upstreams != "": // guard: TestTimesThatAreNoStamps
		return false
	case isRoot:
		return true
	}
	return root.State == wire.Watched || root.State == wire.Auditing || root.State == wire.Degraded || root.State == wire.Mirrored
}

// isSure reports whether every copy that is as new as this listing shows the listing's stamp or a
// later one. A time later than the source's clock is not sure: anybody may have set it, and watch,
// once it hears of that, gives an earlier stamp in its place. A copy may have copied such a time.
// The clock of a copy may be behind that of its source, so there our clock, now, counts as well.
func isSure(root *source.Root, l *mtree.Listing, now mtree.Stamp) bool {
	if root.Upstreams != "" && !l.Stamp.After(now.Add(source.AheadOfUs)) { // guard: TestATimeOfTheFutureIsNoState
		return true
	}
	return !l.HasNow || !l.Stamp.After(l.Now) // guard (returns true): TestATimeOfTheFutureIsNoState
}

// noteRun notes that the present run of the source's watch was listed; up to a listing's stamp, if
// isStamp is true. With it goes the latest root of which the source was complete, if it is a copy.
func (l *Lineage) noteRun(root *source.Root, listing *mtree.Listing, isStamp bool) error {
	if l.replica.ReadOnly || l.older { // guard (without l.older): TestAnOlderState
		return nil
	}
	top, sure := mtree.MinStamp, mtree.MinStamp
	if isStamp {
		top = listing.Stamp
		if isSure(root, listing, l.replica.Now()) {
			sure = top
		}
	}
	whole := wholeRoot(root)
	return l.replica.UpdateStatus(func(s *state.Status) (changed bool) {
		switch run := wire.LatestRun(root.Runs); {
		case run == "" && s.SourceRun == "":
			return false
		case run != "" && run != s.SourceRun:
			s.SourceRun, s.SourceTop, s.SourceSure, s.SourceWhole, s.SourceRead = run, &top, &sure, whole, readAt(root)
			return true
		}
		if s.SourceTop == nil || top.After(*s.SourceTop) { // guard (without top.After): TestSimulatedGuards/rollback
			s.SourceTop, changed = &top, true
		}
		if s.SourceSure == nil || sure.After(*s.SourceSure) {
			s.SourceSure, changed = &sure, true
		}
		if whole != nil && (s.SourceWhole == nil || whole.After(*s.SourceWhole)) {
			s.SourceWhole, s.SourceRead, changed = whole, readAt(root), true
		}
		return changed
	})
}

// readAt returns when the source read the root, nil if it did not say.
func readAt(root *source.Root) *mtree.Stamp {
	if !root.HasNow {
		return nil
	}
	now := root.Now
	return &now
}

// forgetTop forgets the highest stamps of another epoch: its clock may be another one.
func (l *Lineage) forgetTop() error {
	return l.replica.UpdateStatus(func(s *state.Status) bool {
		s.SourceTop, s.SourceSure, s.SourceWhole, s.SourceRead = nil, nil, nil, nil
		return true
	})
}
