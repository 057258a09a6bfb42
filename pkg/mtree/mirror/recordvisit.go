package mirror

import (
	"errors"
	"fmt"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/selfcopy"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// recordVisit records what a visit found and adds the tasks that follow from it. Tasks
// are taken from the end, so the directories below are added first, and the last of
// them before the others: then the files of this directory come first, and after them
// the directories in the order in which a source sends their listings in advance.
func (p *pass) recordVisit(n *node, v *visitResult) {
	if v.err != nil {
		p.unseen[n.path] = n
		if errors.Is(v.err, selfcopy.ErrItself) {
			n.blocked = true
			p.halt(v.err)
			return
		}
		p.recordUnlisted(n, v.err)
		return
	}
	n.visited, n.doubts, n.nested = true, v.doubts, v.nested
	n.before, n.had = v.before, v.had
	if n.parent == nil {
		p.full = p.full || n.doubts.Below() // the root's record says so, or there is none
		if n.had {
			p.gate.FoundRecord()
		}
		p.inRoot = v.inCopy
		p.emptyRoot = len(v.listing.Entries) == len(v.plan.SkippedLinks) && len(v.plan.Kept) == 0
	}
	n.record = v.record
	p.dest.Give(n.path)
	if v.same {
		n.record = v.before
		return
	}
	if err := p.heed(&v.listing); err != nil {
		p.halt(exit.With(exit.Local, err, ""))
	}
	p.result.listed++
	p.config.Stats.Listed.Add(1)
	n.entries = len(v.listing.Entries)
	p.result.inCopy += v.inCopy
	p.result.made += v.made()
	p.noteUncopied(n.path, int64(len(v.plan.SkippedLinks)+len(v.plan.TooDeep)))
	n.changed = n.changed || v.changed
	n.proved = v.proved
	n.approx = v.approx
	p.addDeletions(n, v.deletions)
	if v.changed {
		p.touch(n.path)
	}
	if v.listing.Hot {
		n.blocked = true
		p.unseen[n.path] = n
	}
	for _, f := range v.failed {
		p.fail(n, f.path, f.err)
		p.unseen[f.path] = n
	}
	for _, e := range v.plan.NotUnderstood {
		p.fail(n, mtree.JoinPath(n.path, e.Name), notUnderstood(e))
	}
	p.reportVisit(n, v)
	if p.config.DryRun {
		p.itemise(n, v)
	}
	for _, c := range slices.Backward(v.below) {
		n.open++
		p.addVisit(newNode(n, c.Want, v.doubtsBelow, isFresh(c)))
	}
	if p.config.DryRun {
		return
	}
	if len(v.plan.Check) > 0 {
		p.queue.addSums(nodeFiles{n: n, changes: v.plan.Check})
	}
	p.addFetches(n, v.plan.Fetch)
}

// warned says which warnings a mirror has given: it gives each of them once.
type warned struct {
	links  bool // symlinks cannot be copied
	owners bool // --owner has no effect
}

// reportVisit logs and counts what a visit left out, and which options have no effect.
func (p *pass) reportVisit(n *node, v *visitResult) {
	for _, e := range v.plan.Kept {
		p.config.Log.Info("kept", "path", mtree.QuotePath(mtree.JoinPath(n.path, e.Name)), "why", "the source may have it and not list it",
			"remedy", "delete it in DEST if it is not wanted")
	}
	p.skip(n, int64(len(v.plan.Kept)), "entries that the source may have and not list")
	p.skip(n, v.stays, "directories that are gone at the source but hold what filters exclude")
	if p.dest.NoLinks && !p.warned.links && !p.config.NoLinks && len(v.plan.SkippedLinks) > 0 {
		p.warned.links = true
		p.config.Log.Warn("the file system of DEST holds no symlinks: they are left out", "remedy", "--no-links does so without this warning")
	}
	if p.config.Owner && !p.warned.owners && len(v.listing.Entries) > 0 && v.listing.Entries[0].Has&mtree.HasOwner == 0 {
		p.warned.owners = true
		p.config.Log.Warn("--owner has no effect: the source publishes no owners", "remedy", "serve --owner at the source")
	}
	p.skip(n, int64(len(v.plan.SkippedLinks)), "symlinks that are absolute, lead out or are not wanted")
	p.skip(n, int64(len(v.plan.TooDeep)), fmt.Sprintf("directories with a path of more than %d bytes, and all below", plan.MaxPath))
}

// recordUnlisted records that a directory could not be listed. Nothing in it changes;
// its siblings go on.
func (p *pass) recordUnlisted(n *node, err error) {
	n.blocked = true
	switch {
	case errors.Is(err, source.ErrDenied) && n.parent != nil:
		// Its parent may be completed: whoever makes the directory readable moves the
		// parent's stamp.
		n.unreadable = true
		p.dest.Deny(n.path)
		p.skip(n, 1, "directories the source may not read")
	case (errors.Is(err, source.ErrGone) || errors.Is(err, source.ErrMoved)) && n.parent != nil:
		n.failed = true // an entry that is missing above may have moved down here
		p.result.moved++
		p.config.Log.Debug("changed before it was listed", "path", mtree.QuotePath(n.path), "error", err)
	default:
		p.fail(n, n.path, err)
	}
}

// skip logs and counts entries that are left out.
func (p *pass) skip(n *node, count int64, what string) {
	if count == 0 {
		return
	}
	p.result.skipped += count
	p.config.Stats.Skipped.Add(count)
	p.config.Log.Info("skipped", "path", mtree.QuotePath(n.path), "count", count, "what", what)
}

// addFetches adds tasks for files to fetch. Files of --last come at the end, and files
// that may be in the copy under another name wait until all deletions are known.
func (p *pass) addFetches(n *node, changes []mtree.Change) {
	var now, last, deferred []mtree.Change
	for _, c := range changes {
		p.result.wantFiles++
		p.result.wantBytes += c.Want.Size
		switch {
		case !p.config.DryRun && p.fullDisk.lacks(p.dest, c.Want.Size):
			p.fail(n, mtree.JoinPath(n.path, c.Want.Name), errNoRoom)
		case p.rules.last.Excluded(mtree.JoinPath(n.path, c.Want.Name), false):
			last = append(last, c)
		case p.mayTakeOver(&c):
			deferred = append(deferred, c)
		default:
			now = append(now, c)
		}
	}
	p.queue.deferFiles(n, deferred)
	p.addFiles(n, now)
	p.queue.addLast(n, last)
}

// notUnderstood is the failure of an entry with an attribute of a later version.
func notUnderstood(e *mtree.Entry) error {
	return fmt.Errorf("attribute %q is not understood: a newer tidemark is needed", e.NotUnderstood)
}
