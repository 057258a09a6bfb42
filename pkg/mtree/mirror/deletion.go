package mirror

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// Reasons that one deletion has of its own: others beside it go on. They stand in
// files of held deletions and must not change.
const (
	whyTree    = "the root of another tree or copy is in it (.tidemark)"
	whyEmptied = "its directory came back as another one, which is empty: is a disk not mounted?"
)

// deletion is one entry of the copy that has to go: the source no longer has it, or
// has no directory under the name of one.
type deletion struct {
	path    string
	kind    mtree.Kind
	mtime   mtree.Stamp
	entries int64 // it and all below it

	why      string // why it is held; until the guards were asked: only a reason of its own
	released bool   // somebody allowed it
	staged   string // name in the aside of the file or symlink that replaces a directory; "": none does
}

func (d *deletion) name() string { return mtree.BaseName(d.path) }

// isReplacement reports whether something else gets the name.
func (d *deletion) isReplacement() bool { return d.staged != "" }

// byItself reports whether it is held whatever else goes.
func (d *deletion) byItself() bool { return d.why == whyTree || d.why == whyEmptied }

// countDeletions counts the entries that deletions take away.
func countDeletions(all []deletion) (total int64) {
	for i := range all {
		total += all[i].entries
	}
	return total
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

// delete carries out a deletion in dir and returns how many entries that were, and
// whether something else has the name now. System calls:
//
//	unlinkat, or renameat into the aside and unlinkat for all below; with
//	filters unlinkat for all below that they do not exclude
func (d *dest) delete(dir *disk.Dir, x *deletion) (entries int64, replaced bool, err error) {
	if !x.isReplacement() {
		entries, err = d.remove(dir, x)
		return entries, false, err
	}
	if err := d.aside.Exchange(x.staged, dir, x.name()); err != nil {
		return 0, false, err
	}
	entries, err = d.aside.Dir().ClearTree(x.staged, x.why == whyTree)
	return entries, true, err
}

// remove takes an entry out of dir. A tree loses its name first, so that it is
// there as a whole or not at all, unless filters may exclude something in it. What
// cannot be deleted gets its name back.
func (d *dest) remove(dir *disk.Dir, x *deletion) (n int64, err error) {
	trees := x.why == whyTree
	switch {
	case x.kind != mtree.Dir:
		n, err := dir.ClearTree(x.name(), trees)
		return max(n, 1), err
	case !d.filters.Empty():
		count, err := dir.PruneTree(x.name(), disk.Prune{Path: x.path, Keep: d.filters.Excluded, Trees: trees, Stays: d.finish})
		if disk.IsGone(err) {
			err = nil
		}
		return count.Entries, err
	}
	name := d.aside.Name()
	if err := dir.Rename(x.name(), d.aside.Dir(), name); disk.IsGone(err) {
		return x.entries, nil
	} else if err != nil {
		return dir.ClearTree(x.name(), trees)
	}
	if n, err = d.aside.Dir().ClearTree(name, trees); err != nil {
		return n, errors.Join(err, d.aside.Dir().Rename(name, dir, x.name()))
	}
	return x.entries, nil
}

// abandon removes what was to replace a directory.
func (d *dest) abandon(x *deletion) {
	if x.isReplacement() {
		_ = d.aside.Dir().RemoveTree(x.staged)
	}
}
