package replica

import (
	"errors"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// What filters exclude is not deleted, even if the directory that it is in has to go.
// Then that directory stays, with those above it, and everything else in it is deleted,
// as rsync does.

// Measure returns the deletion of an entry of dir, with the number of entries that it
// takes away, and whether the entry itself stays because filters exclude something in
// it. Directories that their owner may not look into are made accessible meanwhile, but not
// by a dry run. Cost: a statx for each entry below.
func (r *Replica) Measure(dir *disk.Dir, path string, kind mtree.Kind, mtime mtree.Stamp) (d Deletion, stays bool, err error) {
	d = Deletion{Path: path, Kind: kind, MTime: mtime}
	count, err := r.count(dir, d.Name(), path, !r.ReadOnly)
	d.Entries = count.Entries
	if count.Tree {
		d.Why = WhyTree
	}
	return d, count.Stays, err
}

// count counts what a deletion would take away.
func (r *Replica) count(dir *disk.Dir, name, path string, enter bool) (disk.Count, error) {
	p := r.prune(path)
	p.Enter = enter
	return dir.CountPruned(name, p)
}

// prune says what is counted or goes of the entry at path: nothing that filters exclude.
func (r *Replica) prune(path string) disk.Prune {
	p := disk.Prune{Path: path}
	if !r.Filters.Empty() {
		p.Keep = r.Filters.Excluded
	}
	return p
}

// CountAll counts the entries of the copy, as CountIn does.
func (r *Replica) CountAll() int64 { return r.CountIn("") }

// CountIn counts the entries below a directory of the copy, as far as they can be read,
// without what filters exclude. Cost: one openat, getdents64 and statx per directory and entry.
func (r *Replica) CountIn(path string) (total int64) {
	dir, err := r.Dir(path)
	if err != nil {
		return 0
	}
	defer dir.Close()
	_ = dir.ScanStat(func(raw []byte, info disk.Info) error {
		below := mtree.JoinPath(path, string(raw))
		if !r.Filters.Excluded(below, info.Kind == mtree.Dir) {
			n, _ := r.count(dir, string(raw), below, false)
			total += n.Entries + n.Staying
		}
		return nil
	})
	return total
}

// Delete carries out a deletion in dir. It returns how many entries were deleted, and
// whether something else has the name now. A replacement and the directory exchange their
// names, so that the name is never free, and once more if the directory cannot be deleted.
// System calls:
//
//	a replacement: renameat2(RENAME_EXCHANGE), then unlinkat for all below
//	else: unlinkat, or renameat into Staging and unlinkat for all below
//	with filters: unlinkat for everything that they do not exclude
func (r *Replica) Delete(dir *disk.Dir, d *Deletion) (entries int64, replaced bool, err error) {
	if d.Kind == mtree.Dir {
		defer r.removed.Store(true) // after it is gone, or some of it
	}
	if r.Backup != nil {
		return r.keep(dir, d)
	}
	if !d.IsReplacement() {
		entries, err = r.remove(dir, d)
		return entries, false, err
	}
	err = r.Staging.Exchange(d.Staged, dir, d.Name())
	if disk.IsDenied(err) { // a directory that is moved is written to: its ".."
		_ = dir.ChmodEntry(d.Name(), 0o700)
		err = r.Staging.Exchange(d.Staged, dir, d.Name())
	}
	if err != nil {
		return 0, false, err
	}
	if entries, err = r.Staging.Dir().ClearTree(d.Staged, d.Why == WhyTree); err == nil {
		return entries, true, nil
	}
	if back := r.Staging.Exchange(d.Staged, dir, d.Name()); back != nil { // guard (back != nil -> true): TestAReplacement
		return entries, true, errors.Join(err, back)
	}
	r.Abandon(d)
	return entries, false, err
}

// remove deletes an entry of dir. Unless filters may exclude something in a tree, it is
// first moved away, so that it is there as a whole or not at all. What cannot be deleted
// then gets its name back.
func (r *Replica) remove(dir *disk.Dir, d *Deletion) (n int64, err error) {
	trees := d.Why == WhyTree
	switch {
	case d.Kind != mtree.Dir:
		return unlink(dir, d.Name()) // not ClearTree: it may be a directory now, which nobody measured
	case !r.Filters.Empty():
		p := r.prune(d.Path)
		p.Trees, p.Stays = trees, r.finish
		count, err := dir.PruneTree(d.Name(), p)
		if disk.IsGone(err) {
			err = nil
		}
		return count.Entries, err
	}
	name := r.Staging.Name()
	if err := dir.Rename(d.Name(), r.Staging.Dir(), name); err != nil && !disk.IsGone(err) {
		return dir.ClearTree(d.Name(), trees)
	}
	if n, err = r.Staging.Dir().ClearTree(name, trees); err != nil {
		return n, errors.Join(err, r.Staging.Dir().Rename(name, dir, d.Name()))
	}
	return d.Entries, nil
}

// unlink deletes what is no directory, and returns how many entries went.
func unlink(dir *disk.Dir, name string) (int64, error) {
	err := dir.Unlink(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // guard: TestADeletionThatFailsIsNotCounted
		return 0, err
	}
	return 1, nil
}

// finish completes a directory that stays although the source no longer has it. Nothing
// else would ever complete it, and copies of this copy would wait for it.
func (r *Replica) finish(dir *disk.Dir, path string) error {
	at := machine.Now()
	err := r.SetRecord(dir, path, records.Record{Stamp: at})
	if err == nil {
		err = r.Stamp(dir, path, at)
	}
	return err
}

// Abandon removes what was to replace a directory.
func (r *Replica) Abandon(d *Deletion) {
	if d.IsReplacement() {
		_ = r.Staging.Dir().RemoveTree(d.Staged)
	}
}
