package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// e is the E of the source, if it gives one, or the last that it gave.
func (p *pass) e() string {
	if p.source.Fingerprint != "" {
		return p.source.Fingerprint
	}
	return p.dest.tree.E
}

// hides says what of a copy's directory the source may hide by now. That it
// leaves out some entries alone says little: most were never in the copy. So
// the record tells how many it left out when the copy had nothing else than was
// listed; only if there are more now, or it may be others, one of them may be
// in the copy.
func (p *pass) hides(v *view) plan.Hidden {
	switch known := p.knows(v); {
	case known && v.listing.Excluded <= v.before.Excluded, v.listing.Excluded == 0:
		return plan.HiddenNone
	case known && v.listing.Covered == 0:
		return plan.HiddenDirs
	}
	return plan.HiddenAny
}

// knows reports whether the record tells what the present serve, or one of the
// same options, left out.
func (p *pass) knows(v *view) bool {
	if v.before.E == "" {
		return v.had && !v.deep // a change of options makes all visits deep
	}
	return v.before.E == p.e()
}

// otherE stands in a record where the copy has what a serve of other options may
// leave out.
const otherE = "-"

// leftOut notes in the record how many entries the source leaves out, if the
// copy has none of them.
func (p *pass) leftOut(v *view) {
	r := &v.record
	switch {
	case len(v.plan.Kept) > 0 && p.knows(v):
		r.Excluded, r.E = v.before.Excluded, v.before.E
	case len(v.plan.Kept) > 0:
		r.E = otherE
	case v.listing.Excluded > 0:
		r.Excluded, r.E = v.listing.Excluded, p.e()
	}
}

// What filters exclude is not deleted, even where the directory that it is in
// goes: that one stays then, with those above, and all else in it is deleted, as
// rsync does.

// count returns what a deletion would take away.
func (d *dest) count(dir *disk.Dir, name, path string) (disk.Count, error) {
	if d.filters.Empty() {
		return dir.CountTree(name)
	}
	return dir.CountPruned(name, disk.Prune{Path: path, Keep: d.filters.Excluded})
}

// finish completes a directory that the source no longer has, as far as copies of
// this copy are concerned: nobody else ever will.
func (d *dest) finish(dir *disk.Dir, path string) error {
	at := machine.Now()
	err := d.setRecord(dir, path, records.Record{Stamp: at})
	if err == nil {
		err = dir.SetTime(at)
	}
	return err
}

// removeTree deletes one entry of dir and returns how many entries that were. A
// tree loses its name first, so that it is there as a whole or not at all, unless
// filters may exclude something in it. What cannot be deleted gets its name back.
func (d *dest) removeTree(dir *disk.Dir, entry *doomed, path string) (n int64, err error) {
	trees := entry.why == whyTree
	switch {
	case entry.kind != mtree.Dir:
		n, err := dir.ClearTree(entry.name, trees)
		return max(n, 1), err
	case !d.filters.Empty():
		count, err := dir.PruneTree(entry.name, disk.Prune{Path: path, Keep: d.filters.Excluded, Trees: trees, Stays: d.finish})
		if disk.IsGone(err) {
			err = nil
		}
		return count.Entries, err
	}
	name := d.aside.Name()
	if err := dir.Rename(entry.name, d.aside.Dir(), name); disk.IsGone(err) {
		return entry.entries, nil
	} else if err != nil {
		return dir.ClearTree(entry.name, trees)
	}
	if n, err = d.aside.Dir().ClearTree(name, trees); err != nil {
		return n, errors.Join(err, d.aside.Dir().Rename(name, dir, entry.name))
	}
	return entry.entries, nil
}
