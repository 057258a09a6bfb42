package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// findDeletions turns the extra entries of a directory into deletions: it counts what
// is below them, and finds those that have a reason of their own to be held. Cost: a
// statx for each entry below them.
func (w *work) findDeletions(t *target, v *visitResult, dir *disk.Dir) {
	gone := make([]replica.Deletion, 0, len(v.plan.Extra))
	for _, e := range v.plan.Extra {
		path := mtree.JoinPath(t.path, e.Name)
		d, stays, err := w.dest.Measure(dir, path, e.Kind, e.MTime)
		if err != nil {
			v.failed = append(v.failed, failure{path, replica.Local(err)})
			continue
		}
		if stays {
			v.stays++
		}
		if v.nested {
			d.Why = replica.WhyTree
		}
		if d.Entries > 0 {
			gone = append(gone, d)
		}
	}
	if w.isEmptied(t, v, gone) {
		for i := range gone {
			gone[i].Why = cmp.Or(gone[i].Why, replica.WhyEmptied)
		}
	}
	v.deletions = append(gone, v.deletions...)
}

// isEmptied reports whether a disk may have been mounted on this directory at the
// source and is not mounted now: the source has another directory under the name, and
// that one is empty or has a few files that somebody wrote to the mount point since.
// Such files hold deletions only if these are many, or if they were held before.
func (w *work) isEmptied(t *target, v *visitResult, gone []replica.Deletion) bool {
	if len(gone) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.hasFewFiles(gone) {
		return false
	}
	if w.wasHeldEmptied(t, v, gone) {
		return true
	}
	another := v.had && isReplaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || replica.CountDeletions(gone) > replica.Few)
}

// hasFewFiles reports whether the listing is empty or has only files, and few of them
// compared with the deletions.
func (v *visitResult) hasFewFiles(gone []replica.Deletion) bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= replica.CountDeletions(gone)
}

// wasHeldEmptied reports whether some of these deletions were held for that reason
// before, and none of the entries that were held came back.
func (w *work) wasHeldEmptied(t *target, v *visitResult, gone []replica.Deletion) bool {
	emptied := func(path string) bool {
		e := w.held.At(path)
		return e != nil && e.Why == replica.WhyEmptied
	}
	for i := range v.listing.Entries {
		if emptied(mtree.JoinPath(t.path, v.listing.Entries[i].Name)) {
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
