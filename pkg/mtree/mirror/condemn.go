package mirror

import (
	"cmp"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// condemn counts what is to go of a directory, and says what of it is held
// whatever else goes.
func (p *pass) condemn(n *node, v *view, dir *disk.Dir) {
	gone := make([]deletion, 0, len(v.plan.Extra))
	for _, e := range v.plan.Extra {
		path := mtree.JoinPath(n.path, e.Name)
		count, err := p.dest.count(dir, e.Name, path)
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
	if p.emptied(n, v, gone) {
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
func (p *pass) emptied(n *node, v *view, gone []deletion) bool {
	if len(gone) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.strays(gone) {
		return false
	}
	if p.heldEmptied(n, v, gone) {
		return true
	}
	another := v.had && replaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || countDeletions(gone) > leastShared)
}

// strays reports whether a listing is empty or has but a few files, compared with
// what is to go.
func (v *view) strays(gone []deletion) bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= countDeletions(gone)
}

// heldEmptied reports whether entries were held because of that, and none of them
// came back.
func (p *pass) heldEmptied(n *node, v *view, gone []deletion) bool {
	emptied := func(path string) bool {
		e := p.was.at(path)
		return e != nil && e.why == whyEmptied
	}
	for i := range v.listing.Entries {
		if emptied(mtree.JoinPath(n.path, v.listing.Entries[i].Name)) {
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

// wasHeld reports whether the deletion of the entry at path was held before.
func (p *pass) wasHeld(path string) bool { return p.was.at(path) != nil }
