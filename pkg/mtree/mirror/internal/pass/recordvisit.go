package pass

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// recordVisit records what a visit found and adds the tasks that follow from it.
func (p *pass) recordVisit(n *node, v *work.VisitResult) {
	p.result.Seen += v.Inside
	if v.Err != nil {
		p.guard.unseen[n.Path] = true // guard: TestAHoldOutlivesADirectoryInTrouble
		if errors.Is(v.Err, overlap.Err) {
			p.halt(v.Err)
			return
		}
		p.recordUnlisted(n, v.Err)
		return
	}
	n.part, n.later = v.Listing.IsPart(), v.Later
	n.intact = v.Intact
	n.visited, n.Doubts, n.Past, n.Nested = true, v.Doubts, v.Past, v.Nested
	n.before, n.had, n.Record, n.Unlisted, n.known = v.Before, v.Had, v.Record, v.Unlisted, v.Known
	// What is missing above may have moved down here since.
	n.failed = v.Past // guard: TestSimulationFound
	if v.Past {
		p.guard.unseen[n.Path] = true // guard: TestAHoldOutlivesAListingOfThePast
	}
	if n.parent == nil {
		p.recordRoot(n, v)
	}
	p.env.Replica.Give(n.Path)
	if v.Same {
		n.Record, p.result.PassedOver = v.Before, true
		return
	}
	p.noteNews(n, v)
	if err := p.options.Listed(&v.Listing, v.HotElsewhere); err != nil {
		p.halt(exit.With(exit.Local, err, ""))
	}
	p.recordFound(n, v)
	p.reportVisit(n, v)
	p.tellVisit(n, v)
	if p.env.DryRun {
		p.itemise(n, v)
	}
	p.addFound(n, v)
}

// recordRoot records what only the visit of the root shows.
func (p *pass) recordRoot(n *node, v *work.VisitResult) {
	p.announces = p.mayAnnounce(n)
	p.full = n.Doubts.Below() // the root's record says so, or there is none
	p.beginCounts()
	// A part of it did not suffice, and a cache gave the whole as it was before.
	n.blocked = v.Listing.Stamp.Before(p.env.Root.Stamp) // guard: TestACachedRootInThePlaceOfAPart
	if n.had {
		p.guard.gate.FoundRecord()
	}
	if v.Listing.IsPart() {
		for _, e := range v.Plan.Extra {
			p.guard.goneRoot = append(p.guard.goneRoot, e.Name) // guard: TestAnEmptyRootByAPart
		}
	}
	// guard (without !v.Listing.IsPart()): TestTheRootByAPart
	p.guard.emptyRoot = !v.Listing.IsPart() && len(v.Listing.Entries) == len(v.Plan.SkippedLinks) && len(v.Plan.Kept) == 0 // guard: TestAnEmptyRootDeletesNothing
}

// recordFound records what a visit found in a directory, what it did there, and what
// failed.
func (p *pass) recordFound(n *node, v *work.VisitResult) {
	p.result.Listed++
	p.options.Counters.Listed.Add(1)
	n.entries, n.now = len(v.Listing.Entries), v.ReadAt() // guard (v.ReadAt() -> v.Listing.Now): TestWhatADistantSourceVerifies
	p.countListed(n, v)
	p.result.Seen += v.InCopy
	p.result.Made += v.Made()
	p.noteUncopied(n.Path, int64(len(v.Plan.SkippedLinks)+len(v.Plan.TooDeep)+len(v.Plan.Older))) // guard (+len(v.Plan.Older) -> +0): TestLimitsOfACopy
	p.countSkipped(v.Plan.Refused)
	n.changed = v.Changed
	n.begun, n.proved, n.approx = v.Begun, v.Proved, v.Approx
	n.mayBeLost, n.unflushed = v.MayBeLost, v.Unflushed
	n.blocked = n.blocked || v.Past // guard: TestAListingOfThePastCompletesNothing
	p.addDeletions(n, v.Deletions)
	if v.Changed {
		p.touch(n.Path)
	}
	if v.IsHot() { // guard: TestAHotListing
		n.blocked = true
		p.guard.unseen[n.Path] = true // guard: TestAHoldOutlivesADirectoryInTrouble
	}
	for _, f := range v.Failed {
		p.fail(n, f.Path, f.Err)
		p.guard.unseen[f.Path] = true
	}
	for _, e := range v.Plan.NotUnderstood {
		p.fail(n, mtree.JoinPath(n.Path, e.Name), notUnderstood(e)) // guard: TestWhatIsNotUnderstoodIsKept
	}
}

// addFound adds the tasks that follow from a visit. Tasks are taken from the end, so the
// directories below are added first. So the files of this directory come
// first, then the directories in the order in which a source sends their listings in
// advance.
func (p *pass) addFound(n *node, v *work.VisitResult) {
	p.queue.addBrood(newBrood(n, v.Below, v.Plan.SetModes, v.DoubtsBelow, &p.options.Memory.unfinished))
	if p.env.DryRun {
		return
	}
	if len(v.Plan.Check) > 0 {
		p.queue.addSums(nodeFiles{n: n, changes: v.Plan.Check})
	}
	p.addFetches(n, v.Plan.Fetch)
}

// reportVisit logs and counts what a visit left out, and which options have no effect.
func (p *pass) reportVisit(n *node, v *work.VisitResult) {
	for _, e := range v.Plan.Kept {
		p.env.Log.Info("kept", "path", mtree.QuotePath(mtree.JoinPath(n.Path, e.Name)), "why", "the source may have it and not list it",
			"remedy", "delete it in DEST if it is not wanted")
	}
	p.skip(n, int64(len(v.Plan.Kept)), "entries that the source may have and not list")
	p.skip(n, v.Stays, "directories that are gone at the source but hold what filters exclude")
	if p.env.Replica.NoLinks && !p.options.Memory.warned.links && !p.env.NoLinks && len(v.Plan.SkippedLinks) > 0 {
		p.options.Memory.warned.links = true
		p.env.Log.Warn("the file system of DEST holds no symlinks: they are left out", "remedy", "--no-links does so without this warning")
	}
	if p.env.Owner && !p.options.Memory.warned.owners && len(v.Listing.Entries) > 0 && v.Listing.Entries[0].Has&mtree.HasOwner == 0 {
		p.options.Memory.warned.owners = true
		p.env.Log.Warn("--owner has no effect: the source publishes no owners", "remedy", "serve --owner at the source")
	}
	p.skip(n, int64(len(v.Plan.SkippedLinks)), "symlinks that are absolute, lead out or are not wanted")
	p.skip(n, int64(len(v.Plan.TooDeep)), fmt.Sprintf("directories with a path of more than %d bytes, and all below", plan.MaxPath))
}

// recordUnlisted records that a directory could not be listed. Nothing in it changes;
// its siblings go on.
func (p *pass) recordUnlisted(n *node, err error) {
	switch {
	case errors.Is(err, source.ErrDenied) && n.parent != nil:
		// Its parent may be completed: to make the directory readable moves the parent's
		// stamp.
		n.unreadable = true
		p.env.Replica.Deny(n.Path)
		p.addUncopied(n.parent.Path, 1) // guard: TestWhatTheSourceMayNotRead
		p.tellUnreadable(n)
		p.skip(n, 1, "directories the source may not read")
	case (errors.Is(err, source.ErrGone) || errors.Is(err, source.ErrMoved)) && n.parent != nil:
		// An entry that is missing above may have moved down here.
		n.failed = true // guard: TestSimulatedGuards/moved_to_the_past
		p.result.Moved++
		p.notePast(n, err)
		p.env.Log.Debug("changed before it was listed", "path", mtree.QuotePath(n.Path), "error", err)
	default:
		p.fail(n, n.Path, err) // guard: TestTroubleWithAnyDirectory
	}
}

// notePast reports, once in a pass, that deletions wait because a listing is from before
// the one that the copy was completed from. That may last: until the clock of the source
// is again where it was.
func (p *pass) notePast(n *node, err error) {
	if p.result.Past != nil || !errors.Is(err, work.ErrPast) {
		return
	}
	p.result.Past = err
	p.env.Log.Warn("deletions wait", "path", mtree.QuotePath(n.Path), "error", err, "remedy", remedyPast)
}

// skip logs and counts entries that are left out.
func (p *pass) skip(n *node, count int64, what string) {
	if count == 0 {
		return
	}
	p.countSkipped(count)
	p.env.Log.Info("skipped", "path", mtree.QuotePath(n.Path), "count", count, "what", what)
}

// countSkipped counts entries that are left out.
func (p *pass) countSkipped(count int64) {
	p.result.Skipped += count
	p.options.Counters.Skipped.Add(count)
}

// addFetches adds tasks for files to fetch. Files of --last come at the end, and files
// that may be in the copy under another name wait until all deletions are known.
func (p *pass) addFetches(n *node, changes []mtree.Change) {
	now := changes[:0]
	var last, deferred, following []mtree.Change
	for _, c := range changes {
		p.result.wantFiles++
		p.result.wantBytes += c.Want.Size
		switch {
		case p.options.Memory.fullDisk.lacks(p.env.Replica, c.Want.Size):
			p.fail(n, mtree.JoinPath(n.Path, c.Want.Name), errNoRoom)
		case !p.options.Last.Empty() && p.options.Last.Excluded(mtree.JoinPath(n.Path, c.Want.Name), false):
			last = append(last, c)
		case p.follows(n, &c):
			following = append(following, c)
		case p.mayTakeOver(&c):
			deferred = append(deferred, c)
		default:
			now = append(now, c)
		}
	}
	p.queue.deferFiles(n, deferred)
	if isStaged := p.queue.addFiles(n, now, len(following)); isStaged && len(following) > 0 {
		n.open++
		n.following = detached(following)
	} else {
		p.addFollowers(n, following)
	}
	p.queue.addLast(n, last)
}

// notUnderstood is the failure of an entry with an attribute of a later version.
func notUnderstood(e *mtree.Entry) error {
	return fmt.Errorf("attribute %q is not understood: a newer tidemark is needed", e.NotUnderstood)
}

// mayTakeOver reports whether a file to fetch may be in the copy under another name and
// is worth looking for.
func (p *pass) mayTakeOver(c *mtree.Change) bool {
	return c.Have == nil && c.Want.Size >= work.LeastTakenOver && !p.env.Root.OtherServer && p.env.Replica.Counters().Entries > 0
}
