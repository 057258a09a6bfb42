package work

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Visit compares one directory with its listing. It makes directories and symlinks there,
// and sets modes. Other steps fetch and compare files, and delete. given has the root's
// listing; if it is nil, Visit asks the source for the listing. If that is a part of one which
// does not prove enough (suffices), or names what the copy spells otherwise (isSpelled), Visit asks
// once more, for the whole. Cost: a request, openat, getdents64, a statx for each entry, and what is
// made; by a part no getdents64, and a statx for each of its names only; isSpelled.
func (env *Env) Visit(ctx context.Context, t Target, given *source.Root) *VisitResult {
	v := &VisitResult{Doubts: t.Doubts, Nested: t.Nested}
	if v.Err = env.look(ctx, &t, given, v); v.Err == errPart {
		v = &VisitResult{Doubts: t.Doubts, Nested: t.Nested}
		if given != nil {
			t.Listed = given.Stamp // as the part said
		}
		if v.Err = env.look(ctx, &t, nil, v); v.Err == errPart {
			v.Err = fmt.Errorf("%w: a part where the whole was asked for", mtree.ErrListing)
		}
	}
	return v
}

// look does the work of Visit. It stores what it finds in v, and returns the error.
func (env *Env) look(ctx context.Context, t *Target, given *source.Root, v *VisitResult) error {
	if err := env.readListing(ctx, t, given, v); err != nil {
		return err
	}
	dir, err := env.openCopy(t.Path)
	// What the pass would replace may be there still.
	if env.DryRun && (errors.Is(err, fs.ErrNotExist) || disk.IsGone(err)) { // guard (without disk.IsGone): TestDryRun
		env.compare(t, v, nil, nil)
		return nil
	}
	if err != nil {
		return replica.Local(err)
	}
	defer dir.Close()
	info, err := env.readRecord(t, v, dir)
	if err != nil {
		return replica.Local(err)
	}
	if err := env.acceptListing(ctx, t, given, v, info); err != nil {
		return err
	}
	if env.isSame(t, v, info) {
		v.Same = true
		return nil
	}
	if env.isBehind(v) {
		return env.passOver(t, v, dir)
	}
	have, filtered, err := env.readEntries(t, v, dir)
	if err == errPart {
		return err
	}
	if err != nil {
		return replica.Local(err)
	}
	// If size and time do not prove the copy's files, "not modified" does not either.
	v.stripped = v.isStripped(have, env.Replica.Status().State)
	v.Approx.Resolve(ctx, &v.Listing, have, v.Doubts&replica.DoubtBytes == 0 && !v.MayBeLost && !v.stripped)
	env.compare(t, v, dir, have)
	if !v.Listing.Hot {
		v.askForExtra(ctx, t)
	}
	if err := env.refusal(v); err != nil {
		return err
	}
	if !env.DryRun {
		env.doubtUnseen(t, v, have, filtered)
		if err := env.apply(ctx, t, v, dir, info); err != nil {
			return err
		}
	}
	env.findExtra(t, v, dir)
	return nil
}

// readListing takes the listing that is given, or asks for it. The source must not list the copy.
func (env *Env) readListing(ctx context.Context, t *Target, given *source.Root, v *VisitResult) (err error) {
	var l source.Dir
	if given != nil {
		l = given.Dir
	} else if l, err = env.ask(ctx, t); err != nil {
		if errors.Is(err, source.ErrDenied) && t.Doubts.Below() { // guard: TestTheCountOfWhatIsKept
			v.Inside = env.Replica.CountIn(t.Path)
		}
		return err
	}
	env.take(t, v, &l)
	// What a listing of the past lists below it may be of the past, too, and no stamp tells.
	v.Past = l.Past || t.Past // guard (without t.Past): TestNothingIsDeletedBelowAListingOfThePast
	return env.Overlap.CheckDir(ctx, env.Root, t.Path, &l, env.Filters.Excluded)
}

// readRecord makes the copy's directory accessible, and reads what it is and what its record says.
func (env *Env) readRecord(t *Target, v *VisitResult, dir *disk.Dir) (info disk.Info, err error) {
	if info, err = dir.Self(); err != nil {
		return info, err
	}
	if err = env.enter(dir, info); err != nil {
		return info, err
	}
	if v.Before, v.Had, err = env.Replica.Record(dir, t.Path); err != nil { // guard: TestAVisitNeedsItsRecord
		return info, err
	}
	v.Intact = v.Had && env.Replica.IsCompleted(v.Before, info, v.Before.Stamp)
	return info, nil
}

// acceptListing refuses a part that does not prove enough, with errPart. A listing of the past is
// read anew.
func (env *Env) acceptListing(ctx context.Context, t *Target, given *source.Root, v *VisitResult, info disk.Info) error {
	// guard (without !env.isSame): TestAPartOfWhatTheCopyHas
	if v.Listing.IsPart() && !env.isSame(t, v, info) && !env.suffices(t, v, info) { // guard: TestWhichPartsSuffice
		return errPart
	}
	// guard (env.mayBeBehind(v) -> false): TestTheOtherNameIsListedAnew
	if given != nil && given.Past || env.isPast(v) || given == nil && env.mayBeBehind(v) { // guard: TestAListingOfThePastIsReadAnew
		if err := env.readAnew(ctx, t, given, v); err != nil {
			return err
		}
	}
	return nil
}

// readEntries judges in which state the copy's directory is, and reads the entries that are
// compared, with the spelling of the source. filtered are the names of the directories that filters
// exclude.
func (env *Env) readEntries(t *Target, v *VisitResult, dir *disk.Dir) (have []mtree.Entry, filtered []string, err error) {
	v.MayBeLost = !v.Intact && env.Replica.MayBeLost(v.Before)
	v.Nested = t.Nested || t.Path != "" && !t.Fresh && dir.HasMarker()
	if !t.Fresh {
		if have, v.Unseen, filtered, err = env.have(dir, t.Path, &v.Listing); err != nil {
			return nil, nil, err
		}
	}
	v.doubt(len(have) > 0)
	v.Unflushed = hasFiles(have) && !v.Intact // guard: TestSimulatedWhatAKilledMirrorWroteIsFlushed
	if have, err = env.respell(dir, t, v, have); err != nil {
		return nil, nil, err
	}
	v.InCopy = int64(len(have))
	return have, filtered, nil
}

// refusal returns why a plan must not be carried out; nil: it may be.
func (env *Env) refusal(v *VisitResult) error {
	if v.Listing.IsPart() && (v.leavesOut() || v.Plan.Hides) { // guard: TestWhichPartsSuffice
		return errPart
	}
	if (v.Past || env.isPast(v)) && v.removes() {
		return ErrPast
	}
	return nil
}

// askForExtra asks a server other than serve whether it really has none of what it does not list. If it
// has, nothing is extra, and the directory fails.
func (v *VisitResult) askForExtra(ctx context.Context, t *Target) {
	if err := v.Approx.AreGone(ctx, v.Plan.Extra); err != nil { // guard: TestWhatIsNotListedAndNotGone
		v.Failed = append(v.Failed, fetch.Failure{Path: t.Path, Err: err})
		v.Plan.Extra = nil
	}
}

// findExtra finds what the copy has and the listing has not: the deletions, and how much is in
// directories that no visit leads to.
func (env *Env) findExtra(t *Target, v *VisitResult, dir *disk.Dir) {
	if !v.Listing.Hot { // guard (always): TestAHotListing
		env.findDeletions(t, v, dir)
	}
	if v.Stays > 0 {
		v.recordStays() // guard: TestWhatStaysIsRecorded
	}
	if v.Doubts.Below() {
		for _, e := range v.Plan.Unvisited { // guard: TestTheCountOfWhatIsKept
			v.Inside += env.Replica.CountIn(mtree.JoinPath(t.Path, e.Name))
		}
	}
}

// isSame reports whether the directory is complete with the stamp of the listing, so that there is
// nothing to do, whatever a part of it tells.
func (env *Env) isSame(t *Target, v *VisitResult, info disk.Info) bool {
	return v.Had && !t.Doubts.Below() && env.Root.State.Prunes() &&
		env.Replica.IsCompleted(v.Before, info, v.Listing.Stamp) && !isReplaced(v.Before, &v.Listing)
}

// isBehind reports whether a source that stands in shows the directory as it was before it was completed,
// though its root is as new as the copy: what its own source hides it keeps as it is (plan.Plan.Kept), and
// nothing says so. Within an epoch no stamp of a directory goes back. If the tree was rolled back, the first
// source says so when it is used again: then everything is compared.
func (env *Env) isBehind(v *VisitResult) bool {
	return env.StandsIn && v.Intact && !v.Listing.Hot && env.Root.State.Prunes() && // guard (returns false): TestAStandInTakesNothingBack
		v.Doubts&replica.DoubtClock == 0 && v.Listing.Stamp.Before(v.Before.Stamp)
}

// passOver leaves a directory, and all below it, as they are. What is doubted of it is doubted when another
// source shows it.
func (env *Env) passOver(t *Target, v *VisitResult, dir *disk.Dir) (err error) {
	v.Same, v.Later = true, true // it is later than the listing above says, and that may be completed
	if v.Doubts.Below() {
		v.Inside = env.Replica.CountIn(t.Path)
	}
	d := doubted(v.Doubts)
	if d == (unknown{}) || env.DryRun {
		return nil
	}
	if err = env.unknow(t.Path, d); err == nil {
		v.Before, v.Had, err = env.Replica.Record(dir, t.Path)
	}
	if err != nil {
		return replica.Local(err)
	}
	return nil
}

// take makes a listing the one that a visit compares with.
func (env *Env) take(t *Target, v *VisitResult, l *source.Dir) {
	v.Listing, v.Approx, v.Other, v.HotElsewhere = l.Listing, l.Approx, env.isOfOtherOptions(l), l.HotElsewhere
	v.Later, v.behind = env.isLater(t, l), l.Behind
}

// isLater reports whether a directory has another stamp than its parent lists, and the parent will
// be stamped above what was listed: the batch that stamps a directory later stamps what is above it
// after that, so the next pass looks there. A stamp that somebody set ahead may be larger and
// older, and so may one out of a cache.
func (env *Env) isLater(t *Target, l *source.Dir) bool {
	return l.Direct && l.HasNow && env.Root.State.Prunes() && // guard (without l.Direct): TestADirectoryThatIsLaterThanListed
		l.Stamp.After(t.Listed) && // guard: TestADirectoryThatIsLaterThanListed
		!l.Stamp.After(l.Now) // guard: TestADirectoryThatIsLaterThanListed
}

// isOlder reports whether the listing is from before the directory was copied: the
// source was rolled back, and files that were copied since may be equal in size and
// time. Or its clock was set back: then a ctime does not say what changed since. No stamp lies
// before that of an unfinished directory.
func (env *Env) isOlder(v *VisitResult) bool {
	return v.Had && !env.Root.OtherServer && (v.Listing.Stamp.Before(v.Before.Stamp) ||
		v.Listing.HasNow && v.Listing.Now.Before(v.Before.Now) && !env.isElsewhere(v)) // guard: TestAClockSetBackProvesNoBytes
}

// isElsewhere reports whether the record may be of another source, so that neither ids nor clocks tell
// anything. Stamps do: each source has those of the one tree.
func (env *Env) isElsewhere(v *VisitResult) bool {
	return env.Several && isReplaced(v.Before, &v.Listing)
}

// mayGoBack reports whether the directory may get an older content than it has. By another
// clock, no stamp says which of two is older.
func (env *Env) mayGoBack(v *VisitResult) bool {
	return env.isOlder(v) || v.Had && v.Doubts&replica.DoubtClock != 0 && v.Listing.Stamp != v.Before.Stamp
}

// epochBegan returns the latest time, by the source's clock, at which an epoch can have
// begun. If the clock was set back then, what changed since has ctimes from there on, not
// only those above the listing that a directory was completed from.
func epochBegan(epoch uint64) mtree.Stamp {
	sec, last := int64(min(epoch, math.MaxInt64)), mtree.MaxStamp
	if at, _ := last.Unix(); sec >= at {
		return last
	}
	return mtree.Unix(sec, 0)
}

// ErrPast is the error of a directory from which a listing of the past would remove
// something: what came since is not in that listing.
var ErrPast = fmt.Errorf("%w: a cache or an older copy answered with a listing from before, or its clock was set back: it deletes nothing", source.ErrMoved)

// isPast reports whether the source had read the listing before the one from which the
// directory was completed last, and with another stamp. Parts leave the recorded `now` as it was: it
// may be that very listing. If the source became another one,
// or its epoch did, its clock may be another, too; other reasons to compare everything say
// nothing of clocks. A recorded `now` that lies ahead of our own clock proves nothing: the
// source's clock was wrong then.
func (env *Env) isPast(v *VisitResult) bool {
	if env.goesBack(v) {
		return true
	}
	if !v.Had || v.Doubts&replica.DoubtClock != 0 || env.isElsewhere(v) || !v.Listing.HasNow || v.Before.Now.After(env.Replica.Now().Add(source.AheadOfUs)) {
		return false
	}
	if v.Listing.Now == v.Before.Now && v.Listing.Stamp.Before(v.Before.Stamp) { // guard: TestTheListingBeforeTheParts
		return true
	}
	return v.Listing.Now.Before(v.Before.Now) && v.Listing.Stamp != v.Before.Stamp // guard (returns false): TestAListingOfThePastDeletesNothing
}

// goesBack reports whether the source, a copy in mid-pass or one whose mirror stands still,
// is older here than another copy at its address. Nothing tells of the tree which of two
// unfinished copies is newer. But within a run of watch no stamp of a directory goes back; and
// after a roll-back a full walk is due.
func (env *Env) goesBack(v *VisitResult) bool {
	unfinished := env.Root.Upstreams != "" && env.Root.Hot && env.Root.State.Prunes() && !v.Doubts.Below()
	return unfinished && v.Had && !v.Listing.Hot && v.Listing.Stamp.Before(v.Before.Stamp) // guard (returns false): TestWhichListingIsOlder
}

// readAnew asks again for a directory whose listing is of the past. A serve that keeps listings in
// memory may have read this one long ago, while another one at its address answered since; asked
// so, it reads the directory. Of the root only the time may be another: the pass began with it.
func (env *Env) readAnew(ctx context.Context, t *Target, given *source.Root, v *VisitResult) error {
	l, err := env.ask(ctx, &Target{Path: t.Path, Listed: source.Fresh})
	if err != nil || !l.HasNow || !l.Now.After(v.Listing.Now) || given != nil && l.Stamp != v.Listing.Stamp ||
		!l.Direct { // guard: TestAListingOfThePastIsReadAnew
		return nil // what came first has to do, and deletes nothing
	}
	env.take(t, v, &l)
	v.Past = t.Past || given == nil && l.Stamp.Before(t.Listed)
	return env.Overlap.CheckDir(ctx, env.Root, t.Path, &l, env.Filters.Excluded)
}

// compare makes the plan for a target and finds the directories below it to visit. dir is
// nil if the copy has no such directory; that happens in a dry run only.
func (env *Env) compare(t *Target, v *VisitResult, dir *disk.Dir, have []mtree.Entry) {
	v.Listing.Entries = env.wanted(t.Path, v.Listing.Entries)
	another, elsewhere := isReplaced(v.Before, &v.Listing), env.isElsewhere(v)
	// What another source showed under this stamp is what this one shows. Under another stamp the files
	// may come from a directory that was replaced since.
	proved := elsewhere && v.Intact && v.Before.Stamp == v.Listing.Stamp && env.Root.State.Prunes()
	// The copy's files may come from another directory, or from another time. This doubt is
	// not passed down: each directory below is checked for it by itself.
	v.DoubtsBelow = v.Doubts
	if another && !proved || env.isOlder(v) || v.isUnproved(have) || v.stripped { // guard (without env.isOlder): TestAStampThatWentBack
		v.Doubts |= replica.DoubtBytes
	}
	v.Record = v.record()
	if v.Record.ID == "" {
		// guard: TestALostDirectoryIDIsKept
		v.Record.ID = v.Before.ID // a proxy may have removed it
	}
	o := env.planOptions(t.Path, env.hidden(&v.Listing, v.Before, v.trusts()))
	o.Refuses, o.Lost = env.refuses(&v.Listing, v.Approx), v.MayBeLost
	o.HardLinks = o.HardLinks && !v.Nested // guard: TestModesInANestedCopy
	o.CheckAll = v.Doubts&replica.DoubtBytes != 0 || v.MayBeLost
	o.ByCTime, o.Listed = v.Before.Now != mtree.Stamp{} && !proved, v.Before.Now // guard (without !proved): TestSourcesOfDifferentOptions
	if o.Slack, o.Verified = plan.CTimeSlack, env.Verified.has; v.Doubts&replica.DoubtRecent != 0 {
		o.Slack, o.Verified = plan.LossSlack, nil                           // what was compared may be lost since
		o.Listed = mtree.Earlier(o.Listed, epochBegan(env.Root.Tree.Epoch)) // guard: TestSimulationFound
	}
	o.WasHeld = func(path string) bool { return env.Held.At(path) != nil }
	v.Known = v.knownBy(&o)
	v.Plan = plan.Make(have, &v.Listing, &o)
	v.Plan.Linked = slices.DeleteFunc(v.Plan.Linked, func(c mtree.Change) bool { return env.isLinked(t.Path, v.Nested, c) })
	if env.keepsID(t, v) { // guard: TestWhatADirectoryIsCompletedWith
		v.Record.ID, v.Plan.Hides = v.Before.ID, true // as if a mount covered what stays
		v.Record.Now = v.Known
	}
	env.recordHidden(v)
	if v.Listing.IsPart() {
		v.Record = recordOfPart(v) // guard: TestAPartMovesTheStampOnly
	}
	if v.Unseen || v.Plan.Unseen {
		env.keepKnown(v, &o)
	}
	for _, c := range v.Plan.Dirs {
		if IsFresh(c) || another && !elsewhere || v.Doubts.Below() || !env.prunes(dir, t.Path, c) { // guard (without v.Doubts): TestOtherOptionsReachALocalCopy
			v.Below = append(v.Below, c)
		}
	}
}

// planOptions returns the options that every plan for the directory at path has.
func (env *Env) planOptions(path string, hidden plan.Hidden) plan.Options {
	return plan.Options{
		Dir: path, Stored: env.Replica.Times.Stored, NoLinks: env.NoLinks || env.Replica.NoLinks, Owner: env.Owner, NoDelete: env.NoDelete, Hidden: hidden,
		HardLinks: env.Replica.Links != nil,
	}
}

// PlanToVerify makes a plan for the directory of the copy at path that trusts nothing:
// all files of equal size and mtime are to be compared by their sums, and those of which the
// listing leaves open whether they are equal. Nothing is changed.
func (env *Env) PlanToVerify(dir *disk.Dir, path string, l *source.Dir) (plan.Plan, error) {
	have, _, _, err := env.present(dir, path, &l.Listing)
	if err != nil {
		return plan.Plan{}, err
	}
	before, had, err := env.Replica.Record(dir, path)
	if err != nil {
		return plan.Plan{}, err
	}
	o := env.planOptions(path, env.hidden(&l.Listing, before, had))
	o.Refuses = env.refuses(&l.Listing, l.Approx) // guard: TestLimitsOfACopyAreRecalled
	o.CheckAll = true
	kept := l.Listing
	kept.Entries = env.wanted(path, slices.Clone(l.Entries))
	l.Approx.Assume(&kept, have)
	return plan.Make(have, &kept, &o), nil
}

// IsFresh reports whether the visit of the parent makes this directory.
func IsFresh(c mtree.Change) bool { return c.What&(mtree.Absent|mtree.Type) != 0 }

// prunes reports whether a directory below path is complete with the stamp that the
// source lists.
func (env *Env) prunes(dir *disk.Dir, path string, c mtree.Change) bool {
	return env.Root.State.Prunes() && env.Replica.IsComplete(dir, path, c.Want.MTime, c.Have)
}

// apply carries out the parts of the plan that need no fetch. A directory that goes back in
// time is unfinished from here on: what is below it may go back first, and a kill would leave
// it complete above that.
func (env *Env) apply(ctx context.Context, t *Target, v *VisitResult, dir *disk.Dir, info disk.Info) error {
	pl := &v.Plan
	v.Proved = len(pl.Check) > 0
	if len(pl.MakeDirs)+len(pl.MakeLinks)+len(pl.Fetch)+len(pl.SetModes)+len(pl.Linked)+len(pl.Extra) > 0 || t.Fresh || v.unmarked || env.mayGoBack(v) { // guard (without env.mayGoBack): TestSimulationFound
		if err := env.makeReady(dir, info, v.asTarget(t)); err != nil {
			return replica.Local(err)
		}
		v.Begun = true
	}
	for _, c := range pl.MakeDirs {
		err := env.makeDir(dir, t, c)
		if v.note(t, c.Want.Name, err); err != nil {
			v.Below = slices.DeleteFunc(v.Below, func(child mtree.Change) bool { return child.Want.Name == c.Want.Name })
			if isHalfMade(dir, c.Want.Name, err) { // guard: TestWhatFailedIsNotTold
				v.HalfMade = append(v.HalfMade, c.Want.Name)
			}
		}
	}
	for _, c := range pl.MakeLinks {
		v.note(t, c.Want.Name, env.makeLink(dir, t, c, v))
	}
	for _, c := range pl.SetModes {
		v.note(t, c.Want.Name, env.setMode(ctx, dir, c))
	}
	for _, c := range pl.Linked {
		at := t.ToChange()
		changed, err := env.relink(ctx, dir, &at, c)
		if err == errModeNotKept {
			continue
		}
		if changed || err != nil {
			v.note(t, c.Want.Name, err)
		}
		if changed && plan.ModeDiffers(c, env.Owner) {
			v.Relinked = append(v.Relinked, c)
		}
	}
	return nil
}
