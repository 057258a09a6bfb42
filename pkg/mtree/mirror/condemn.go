package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// condemn counts what is to go of a directory, and says what of it is held
// whatever else goes.
func (p *pass) condemn(n *node, v *view, dir *disk.Dir) {
	for _, e := range v.plan.extra {
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
// gone: the source has another one under the name, and in it nothing of what is
// in the copy. It need not be empty, for somebody may have written to the mount
// point since; then few entries are no reason to hold them.
func (p *pass) emptied(n *node, v *view) bool {
	if v.stillEmptied(n, &p.was) {
		return true
	}
	if len(v.doomed) == 0 || !v.had || !replaced(v.before, &v.listing) || v.inCopy > int64(len(v.plan.extra)+len(v.plan.kept)) {
		return false
	}
	return len(v.listing.Entries) == 0 || v.total() > leastShared
}

// stillEmptied reports whether entries were held because of that, and neither
// the former directory nor any of them came back.
func (v *view) stillEmptied(n *node, was *heldList) bool {
	if len(was.entries) == 0 || v.before.ID != "" && v.before.ID == v.listing.ID {
		return false
	}
	emptied := func(name string) bool {
		e := was.at(mtree.JoinPath(n.path, name))
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
