package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// condemn counts what is to go of a directory, and says what of it is held
// whatever else goes.
func (w *work) condemn(t *target, v *visitResult, dir *disk.Dir) {
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
	if w.emptied(t, v, gone) {
		for i := range gone {
			gone[i].why = cmp.Or(gone[i].why, whyEmptied)
		}
	}
	v.deletions = append(gone, v.deletions...)
}

// emptied reports whether a directory may be where a disk was mounted that is
// gone: the source has another one under the name, empty, or with a few files that
// somebody wrote to the mount point since; these are no reason to hold few entries,
// unless they were held before.
func (w *work) emptied(t *target, v *visitResult, gone []deletion) bool {
	if len(gone) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.strays(gone) {
		return false
	}
	if w.heldEmptied(t, v, gone) {
		return true
	}
	another := v.had && replaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || countDeletions(gone) > leastShared)
}

// strays reports whether a listing is empty or has but a few files, compared with
// what is to go.
func (v *visitResult) strays(gone []deletion) bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= countDeletions(gone)
}

// heldEmptied reports whether entries were held because of that, and none of them
// came back.
func (w *work) heldEmptied(t *target, v *visitResult, gone []deletion) bool {
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
