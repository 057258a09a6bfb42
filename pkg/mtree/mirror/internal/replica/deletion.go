package replica

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// Reasons of its own for which a deletion is held: other deletions beside it go on.
// They stand in files of held deletions and must not change.
const (
	WhyTree    = "the root of another tree or copy is in it (.tidemark)"
	WhyEmptied = "its directory came back as another one, which is empty: is a disk not mounted?"
)

// Deletion is one entry of the copy that has to go: the source no longer has it, or
// has no directory where the copy has one.
type Deletion struct {
	Path    string
	Kind    mtree.Kind
	MTime   mtree.Stamp
	Entries int64 // it and all below it, without what Filters exclude

	Why      string // why it is held; before the guards were asked only a reason of its own, or ""
	Released bool   // somebody allowed it
	Staged   string // name in Staging of the file or symlink that replaces a directory; "": none does
}

// Name returns the name of the entry in its directory.
func (d *Deletion) Name() string { return mtree.BaseName(d.Path) }

// IsReplacement reports whether something else gets the name.
func (d *Deletion) IsReplacement() bool { return d.Staged != "" }

// HasOwnReason reports whether it is held whatever other deletions there are.
func (d *Deletion) HasOwnReason() bool { return d.Why == WhyTree || d.Why == WhyEmptied }

// Few is the number of entries up to which it matters little how large a share of a copy,
// or of a directory, they are: half of three files is nothing to worry about.
const Few = 100

// CountDeletions counts the entries that deletions take away.
func CountDeletions(all []Deletion) (total int64) {
	for i := range all {
		total += all[i].Entries
	}
	return total
}

// What filters exclude is not deleted, even where the directory that it is in goes:
// then that directory stays, with those above it, and everything else in it is
// deleted, as rsync does.

// Measure returns what the deletion of an entry of dir takes away, and whether the
// entry stays all the same, for the sake of what filters exclude in it. Cost: a statx
// for each entry below.
func (r *Replica) Measure(dir *disk.Dir, path string, kind mtree.Kind, mtime mtree.Stamp) (d Deletion, stays bool, err error) {
	d = Deletion{Path: path, Kind: kind, MTime: mtime}
	count, err := r.count(dir, d.Name(), path)
	d.Entries = count.Entries
	if count.Tree {
		d.Why = WhyTree
	}
	return d, count.Stays, err
}

// count counts what a deletion would take away.
func (r *Replica) count(dir *disk.Dir, name, path string) (disk.Count, error) {
	if r.Filters.Empty() {
		return dir.CountTree(name)
	}
	return dir.CountPruned(name, disk.Prune{Path: path, Keep: r.Filters.Excluded})
}

// CountAll counts the entries of the copy, as far as they can be read. Cost: one
// openat, getdents64 and statx per directory and entry.
func (r *Replica) CountAll() (total int64) {
	if r.Root == nil {
		return 0
	}
	names, _ := r.Root.Names()
	for _, name := range names {
		n, _ := r.count(r.Root, name, name)
		total += n.Entries
	}
	return total
}

// Delete carries out a deletion in dir. It returns how many entries went, and whether
// something else has the name now. A replacement and the directory exchange their
// names, so that the name is never free. System calls:
//
//	a replacement: renameat2(RENAME_EXCHANGE), then unlinkat for all below
//	else: unlinkat, or renameat into Staging and unlinkat for all below
//	with filters: unlinkat for all below that they do not exclude
func (r *Replica) Delete(dir *disk.Dir, d *Deletion) (entries int64, replaced bool, err error) {
	if !d.IsReplacement() {
		entries, err = r.remove(dir, d)
		return entries, false, err
	}
	if err := r.Staging.Exchange(d.Staged, dir, d.Name()); err != nil {
		return 0, false, err
	}
	entries, err = r.Staging.Dir().ClearTree(d.Staged, d.Why == WhyTree)
	return entries, true, err
}

// remove takes an entry out of dir. A tree loses its name first, so that it is there
// as a whole or not at all, unless filters may exclude something in it. What cannot
// be deleted gets its name back.
func (r *Replica) remove(dir *disk.Dir, d *Deletion) (n int64, err error) {
	trees := d.Why == WhyTree
	switch {
	case d.Kind != mtree.Dir:
		n, err := dir.ClearTree(d.Name(), trees)
		return max(n, 1), err
	case !r.Filters.Empty():
		count, err := dir.PruneTree(d.Name(), disk.Prune{Path: d.Path, Keep: r.Filters.Excluded, Trees: trees, Stays: r.finish})
		if disk.IsGone(err) {
			err = nil
		}
		return count.Entries, err
	}
	name := r.Staging.Name()
	if err := dir.Rename(d.Name(), r.Staging.Dir(), name); disk.IsGone(err) {
		return d.Entries, nil
	} else if err != nil {
		return dir.ClearTree(d.Name(), trees)
	}
	if n, err = r.Staging.Dir().ClearTree(name, trees); err != nil {
		return n, errors.Join(err, r.Staging.Dir().Rename(name, dir, d.Name()))
	}
	return d.Entries, nil
}

// finish completes a directory that stays although the source no longer has it: for
// copies of this copy, for nobody else ever completes it.
func (r *Replica) finish(dir *disk.Dir, path string) error {
	at := machine.Now()
	err := r.SetRecord(dir, path, records.Record{Stamp: at})
	if err == nil {
		err = dir.SetTime(at)
	}
	return err
}

// Abandon removes what was to replace a directory.
func (r *Replica) Abandon(d *Deletion) {
	if d.IsReplacement() {
		_ = r.Staging.Dir().RemoveTree(d.Staged)
	}
}
