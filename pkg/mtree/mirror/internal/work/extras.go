package work

import (
	"cmp"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/fetch"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// findDeletions turns the extra entries of a directory into deletions: it counts what
// is below them, and finds those that have a reason of their own to be held. Cost: a
// statx for each entry below them.
func (env *Env) findDeletions(t *Target, v *VisitResult, dir *disk.Dir) {
	gone := make([]replica.Deletion, 0, len(v.Plan.Extra))
	for _, e := range v.Plan.Extra {
		path := mtree.JoinPath(t.Path, e.Name)
		d, stays, err := env.Replica.Measure(dir, path, e.Kind, e.MTime)
		if err != nil {
			v.Failed = append(v.Failed, fetch.Failure{Path: path, Err: replica.Local(err)})
			continue
		}
		if stays {
			v.Stays++
			d.Stays = true
			v.Staying = append(v.Staying, strings.Clone(e.Name))
		}
		if v.Nested {
			d.Why = replica.WhyTree // guard: TestACopyInACopyIsNotDeleted
		}
		if d.Entries > 0 {
			gone = append(gone, d)
		}
	}
	if env.isEmptied(t, v, gone) { // guard: TestAnotherDirectoryWithoutAnything
		for i := range gone {
			gone[i].Why = cmp.Or(gone[i].Why, replica.WhyEmptied)
		}
	}
	if env.StandsIn { // guard: TestAStandInDeletesNothing
		for i := range gone {
			gone[i].Why = cmp.Or(gone[i].Why, replica.WhyStandIn)
		}
	}
	v.Deletions = append(gone, v.Deletions...)
}

// isEmptied reports whether a disk may have been mounted on this directory at the source
// and is not mounted now: the source has another directory under the name, and that one
// is empty or has a few files, which somebody may have written to the bare mount point.
// If it has files, the deletions must be many, or some of them held before. With other options than
// before, what is here of these files may have come while NoDelete kept the rest (keepsID). A copy
// that its mirror keeps shows no bare mount point: that is not as its mirror completed it, so it is
// hot. There another directory is one of another copy at the same address.
func (env *Env) isEmptied(t *Target, v *VisitResult, gone []replica.Deletion) bool {
	if env.Root.Upstreams != "" && env.Root.State.Prunes() { // guard: TestADirectoryThatWasEmptied
		return false
	}
	if v.Before.ID == v.Listing.ID || !v.hasFewFiles(gone) {
		return false
	}
	if env.wasHeldEmptied(t, v, gone) { // guard: TestADirectoryThatWasEmptied
		return true
	}
	another := isReplaced(v.Before, &v.Listing)
	if v.Doubts&replica.DoubtHidden != 0 { // guard: TestADirectoryThatWasEmptied
		return another
	}
	// What is listed and here may have come in a pass whose hold was lost, or was never written down.
	// guard (without v.Before.IsUnfinished()): TestADirectoryThatWasEmptied
	alone := v.Before.IsUnfinished() || v.InCopy == int64(len(v.Plan.Extra)+len(v.Plan.Kept))
	return another && alone && (len(v.Listing.Entries) == 0 || replica.CountDeletions(gone) > replica.Few)
}

// keepsID reports whether the record keeps the id that it has, though the source has another
// directory now: what NoDelete keeps there may be on a disk that is not mounted, and without NoDelete
// only that id tells (isEmptied). The cost: each visit compares its files by their sums. Where
// directories are listed, or not few files, it is no bare mount point (hasFewFiles); nor is the root of a
// tree, which has an id.
func (env *Env) keepsID(t *Target, v *VisitResult) bool {
	return v.Plan.Spared > 0 && isReplaced(v.Before, &v.Listing) &&
		int64(len(v.Listing.Entries))*10 <= v.Plan.Spared && // guard: TestWhatADirectoryIsCompletedWith
		!v.listsDir() && // guard: TestWhatADirectoryIsCompletedWith
		(t.Path != "" || env.Root.TreePath != "/") // guard: TestTheRootOfATreeKeepsNoID
}

// listsDir reports whether there is a directory in the listing.
func (v *VisitResult) listsDir() bool {
	return slices.ContainsFunc(v.Listing.Entries, func(e mtree.Entry) bool { return e.Kind == mtree.Dir })
}

// hasFewFiles reports whether the listing is empty, or has only files, and at most a
// tenth as many as there are deletions.
func (v *VisitResult) hasFewFiles(gone []replica.Deletion) bool {
	return !v.listsDir() && int64(len(v.Listing.Entries))*10 <= replica.CountDeletions(gone)
}

// wasHeldEmptied reports whether some of these deletions were held as isEmptied before,
// and none of the entries held so came back.
func (env *Env) wasHeldEmptied(t *Target, v *VisitResult, gone []replica.Deletion) bool {
	emptied := func(path string) bool {
		e := env.Held.At(path)
		return e != nil && e.Why == replica.WhyEmptied
	}
	for i := range v.Listing.Entries {
		if emptied(mtree.JoinPath(t.Path, v.Listing.Entries[i].Name)) {
			return false
		}
	}
	for i := range gone {
		if emptied(gone[i].Path) {
			return true
		}
	}
	return false
}
