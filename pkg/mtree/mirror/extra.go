package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// findDeletions turns the extra entries of a directory into deletions: it counts what
// is below them, and finds those that have a reason of their own to be held. Cost: a
// statx for each entry below them.
func (w *work) findDeletions(t *target, v *visitResult, dir *disk.Dir) {
	gone := make([]deletion, 0, len(v.plan.Extra))
	for _, e := range v.plan.Extra {
		path := mtree.JoinPath(t.path, e.Name)
		count, err := w.dest.count(dir, e.Name, path)
		if err != nil {
			v.failed = append(v.failed, failure{path, local(err)})
			continue
		}
		if count.Stays {
			v.stays++
		}
		d := deletion{path: path, kind: e.Kind, mtime: e.MTime, entries: count.Entries}
		if v.nested || count.Tree {
			d.why = whyTree
		}
		if count.Entries > 0 {
			gone = append(gone, d)
		}
	}
	if w.isEmptied(t, v, gone) {
		for i := range gone {
			gone[i].why = cmp.Or(gone[i].why, whyEmptied)
		}
	}
	v.deletions = append(gone, v.deletions...)
}

// isEmptied reports whether a disk may have been mounted on this directory at the
// source and is not mounted now: the source has another directory under the name, and
// that one is empty or has a few files that somebody wrote to the mount point since.
// Such files hold deletions only if these are many, or if they were held before.
func (w *work) isEmptied(t *target, v *visitResult, gone []deletion) bool {
	if len(gone) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.hasFewFiles(gone) {
		return false
	}
	if w.wasHeldEmptied(t, v, gone) {
		return true
	}
	another := v.had && isReplaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || countDeletions(gone) > leastShared)
}

// hasFewFiles reports whether the listing is empty or has only files, and few of them
// compared with the deletions.
func (v *visitResult) hasFewFiles(gone []deletion) bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= countDeletions(gone)
}

// wasHeldEmptied reports whether some of these deletions were held for that reason
// before, and none of the entries that were held came back.
func (w *work) wasHeldEmptied(t *target, v *visitResult, gone []deletion) bool {
	emptied := func(path string) bool {
		e := w.held.at(path)
		return e != nil && e.why == whyEmptied
	}
	for i := range v.listing.Entries {
		if emptied(mtree.JoinPath(t.path, v.listing.Entries[i].Name)) {
			return false
		}
	}
	for i := range gone {
		if emptied(gone[i].path) {
			return true
		}
	}
	return false
}
