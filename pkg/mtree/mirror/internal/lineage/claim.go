package lineage

import (
	"cmp"
	"context"
	"slices"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Claim is what a pass may do.
type Claim struct {
	HoldAll string // why nothing may be deleted; "": deletions are allowed
	Walk    bool   // a full walk is due that is not marked in the copy: only in a dry run
}

// Claim makes the copy one of the tree with that root, or refuses. If that makes a full
// walk due, it marks the copy, so that the walk is due until it has ended, also after a
// kill. A copy that is opened for reading only is not marked.
func (l *Lineage) Claim(ctx context.Context, root *source.Root) (Claim, error) {
	r, was := l.replica, l.replica.Tree()
	holdAll, err := l.mayFollow(root)
	if err != nil {
		return Claim{}, err
	}
	if l.older = l.isOlder(root); l.older {
		holdAll = cmp.Or(holdAll, olderState)
	}
	if l.isPast(root) {
		root.Past = true // guard: TestARootOfThePast
	}
	claim := Claim{HoldAll: holdAll}
	if holdAll == lostID {
		claim.Walk, err = l.claimNameless(ctx, root)
		return claim, err
	}
	more := l.rolledBack(root)
	if l.Sums && !l.summed {
		more |= replica.DoubtBytes
	}
	next := l.next(root, more)
	from, to := epochsOf(&was, &next)
	if was.ID == next.ID && from != 0 && from != to {
		more |= replica.DoubtRecent
		if to > from && to-from <= uncountedEpochs { // guard: TestWhatAClaimDoubts
			more |= replica.DoubtBytes
		}
	}
	if otherClock(&was, &next) || l.adopts() { // guard (without otherClock(&was, &next)): TestSimulatedDeletionsDoNotWaitForTheClockOfAnEpoch
		more |= replica.DoubtClock
	}
	due := more != 0 || newIn(&was, &next) != "" || !was.BoundTo(r.Self) || r.Status().State == ""
	if due {
		if err := l.guard.CheckRoot(ctx, root); err != nil {
			return Claim{}, err
		}
	}
	if r.ReadOnly {
		claim.Walk = due
		return claim, nil
	}
	if was.Upstream == next.Upstream && l.flapping.note(was.Fingerprint, next.Fingerprint) { // guard (without was.Upstream == next.Upstream): TestClaimOfAnotherSource
		l.Log.Warn("serves of different options answer by turns: each change is a full walk",
			"remedy", "start all serves behind that address with the same options, user and groups")
	}
	if due {
		err = l.retake(next, more)
	} else {
		err = r.SetTree(next)
	}
	if err == nil && from != to {
		err = l.forgetTop()
	}
	if err == nil {
		l.adopted, l.summed = true, true
		err = l.noteRun(root, &root.Listing, isStamp(root, &root.Listing, true))
	}
	return claim, exit.With(exit.Local, err, "")
}

// uncountedEpochs is by how much an epoch may be higher than the last one and be no time: it is raised by
// one where the clock shows less than the last epoch says, because it was set back. What changed
// since then may have any ctime.
const uncountedEpochs = 3

// epochsOf returns in which epoch the source was at the last claim and is now: of an older lineage,
// if it is of one still. With --no-delete it may be of one for long.
func epochsOf(was, is *state.Tree) (from, to uint64) {
	if was.Older != 0 && is.Older != 0 { // guard: TestWhatAClaimDoubts
		return was.Older, is.Older
	}
	return was.Epoch, is.Epoch
}

// claimNameless accepts a source that lost its id, unless that source is within the copy.
// The options of both sides count as ever: what is completed with them must be looked at
// again once they are others. walk is due if they are, and the copy is not marked.
func (l *Lineage) claimNameless(ctx context.Context, root *source.Root) (walk bool, err error) {
	if !l.outside {
		if err := l.guard.CheckRoot(ctx, root); err != nil {
			return false, err
		}
		l.outside = true
	}
	was := l.replica.Tree()
	next := was
	next.Filters, next.Fingerprint = l.Selection, cmp.Or(root.Fingerprint, was.Fingerprint)
	due := newIn(&was, &next) != ""
	if l.replica.ReadOnly {
		return due, nil
	}
	if due {
		err = l.retake(next, 0)
	}
	if err == nil {
		err = l.noteRun(root, &root.Listing, isStamp(root, &root.Listing, true))
	}
	return false, exit.With(exit.Local, err, "")
}

// retake writes what the copy is a copy of, after that changed or became uncertain. Unless
// the copy is new, its records are not trusted from here on.
func (l *Lineage) retake(next state.Tree, more replica.Doubts) error {
	r, was := l.replica, l.replica.Tree()
	if !was.BoundTo(r.Self) { // guard: TestAdoptingACopiedCopy
		more |= replica.DoubtHidden // the records came from elsewhere, with the files
	}
	if !slices.Equal(was.Filters, next.Filters) { // guard: TestSimulationFound
		more |= replica.DoubtHidden // what was filtered is not counted among what the copy has and the source hides
	}
	isNew, err := r.IsNew()
	if err != nil {
		return err
	}
	if !isNew {
		l.Log.Info("everything is compared once", "why", l.reason(&was, &next, more))
		if l.adopts() && more&replica.DoubtBytes == 0 {
			l.Log.Info("adopted: files of equal size and time are taken for equal",
				"remedy", "mirror --verify DEST compares their bytes afterwards, --adopt --verify while adopting")
		}
		if err := r.Distrust(more); err != nil {
			return err
		}
	}
	if err := r.ResetStatus(was.ID != next.ID); err != nil {
		return err
	}
	err = r.SetTree(next)
	if !isNew && (was.ID != next.ID || !slices.Equal(was.Filters, next.Filters)) { // guard: TestOtherOptionsOfACopyInMidPass
		// Every serve of the copy must know before anything in the copy changes by it. Else a
		// reader would take what comes with the new options for what the old ones showed; and
		// if those were back before it asks again, it would never learn of the new ones.
		l.pause(state.StatusLag)
	}
	return err
}

// Completed notes the end of a pass that made the copy equal to the source with that
// root, except for held deletions. From here on copies of this copy learn the source's
// runs. If nothing is held, the copy takes over the source's lineage and directory; but not with
// --no-delete. Nothing is held then, since nothing is to go: a pass without that option would find
// no reason left to hold what this one kept.
func (l *Lineage) Completed(root *source.Root, held int64) error {
	t := l.replica.Tree()
	if root.Runs != nil && !l.older {
		t.Runs = root.Runs
	}
	settled := held == 0 && !slices.Contains(l.Selection, noDelete) // guard (without !slices.Contains): TestCompleted
	if settled && t.Older != 0 {
		t.Epoch, t.Older = t.Older, 0
	}
	if settled && t.NoID && root.Place != "" {
		t.Place = root.Place
	}
	return l.replica.SetTree(t)
}
