package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// condemn counts what is to go of a directory, and says what of it is held
// whatever else goes.
func (w *work) condemn(t *target, v *visitResult, dir *disk.Dir) {
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
	if w.emptied(t, v, gone) {
		for i := range gone {
			gone[i].Why = cmp.Or(gone[i].Why, replica.WhyEmptied)
		}
	}
	v.deletions = append(gone, v.deletions...)
}

// emptied reports whether a directory may be where a disk was mounted that is
// gone: the source has another one under the name, empty, or with a few files that
// somebody wrote to the mount point since; these are no reason to hold few entries,
// unless they were held before.
func (w *work) emptied(t *target, v *visitResult, gone []replica.Deletion) bool {
	if len(gone) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.strays(gone) {
		return false
	}
	if w.heldEmptied(t, v, gone) {
		return true
	}
	another := v.had && replaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || replica.CountDeletions(gone) > replica.Few)
}

// strays reports whether a listing is empty or has but a few files, compared with
// what is to go.
func (v *visitResult) strays(gone []replica.Deletion) bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= replica.CountDeletions(gone)
}

// heldEmptied reports whether entries were held because of that, and none of them
// came back.
func (w *work) heldEmptied(t *target, v *visitResult, gone []replica.Deletion) bool {
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
