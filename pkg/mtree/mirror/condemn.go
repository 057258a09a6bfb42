package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// condemn counts what is to go of a directory, and says what of it is held
// whatever else goes.
func (p *pass) condemn(n *node, v *view, dir *disk.Dir) {
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
		d := doomed{name: e.Name, kind: e.Kind, mtime: e.MTime, entries: count.Entries}
		if v.nested || count.Tree {
			d.why = whyTree
		}
		if count.Entries > 0 {
			v.doomed = append(v.doomed, d)
		}
	}
	if !p.emptied(n, v) {
		return
	}
	for i := range v.doomed {
		if d := &v.doomed[i]; d.why == "" {
			d.why = whyEmptied
		}
	}
}

// emptied reports whether a directory may be where a disk was mounted that is
// gone: the source has another one under the name, empty, or with a few files that
// somebody wrote to the mount point since; these are no reason to hold few entries,
// unless they were held before.
func (p *pass) emptied(n *node, v *view) bool {
	if len(v.doomed) == 0 || v.before.ID == "" || v.before.ID == v.listing.ID || !v.strays() {
		return false
	}
	if p.heldEmptied(n, v) {
		return true
	}
	another := v.had && replaced(v.before, &v.listing) && v.inCopy == int64(len(v.plan.Extra)+len(v.plan.Kept))
	return another && (len(v.listing.Entries) == 0 || v.total() > leastShared)
}

// strays reports whether a listing is empty or has but a few files, compared with
// what is to go.
func (v *view) strays() bool {
	for i := range v.listing.Entries {
		if v.listing.Entries[i].Kind == mtree.Dir {
			return false
		}
	}
	return int64(len(v.listing.Entries))*10 <= v.total()
}

// heldEmptied reports whether entries were held because of that, and none of them
// came back.
func (p *pass) heldEmptied(n *node, v *view) bool {
	emptied := func(name string) bool {
		e := p.was.at(mtree.JoinPath(n.path, name))
		return e != nil && e.why == whyEmptied
	}
	for i := range v.listing.Entries {
		if emptied(v.listing.Entries[i].Name) {
			return false
		}
	}
	for i := range v.doomed {
		if emptied(v.doomed[i].name) {
			return true
		}
	}
	return false
}

// total counts what is to go.
func (v *view) total() (n int64) {
	for i := range v.doomed {
		n += v.doomed[i].entries
	}
	return n
}

// wasHeld reports whether the deletion of the entry at path was held before.
func (p *pass) wasHeld(path string) bool { return p.was.at(path) != nil }
