package fetch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// A directory that was made in this pass, and that holds only files which come with
// one fetch, is filled in the staging directory. Then it replaces the empty directory
// that has its name. So nobody ever sees a part of a file, and a kill loses at most
// the files of the fetches under way. What is made in the staging directory takes nothing of the
// directory in which it is placed: below one that ignores case by itself (chattr +F) it does not
// do so, and holds both of two names that differ in case.

// leastStaged is the least number of files for which that is worth it: to make and move
// one more directory costs what it saves for six files.
const leastStaged = 16

// IsStaged reports whether a new directory that gets this many files is filled in the
// staging directory.
func IsStaged(files int) bool { return files >= leastStaged }

// openStaged makes a directory in the staging directory, to be filled for a target. It
// returns nil if the files must go into the target's own directory.
func (f *fetching) openStaged(t *Target) *disk.TempDir {
	dest := f.env.Copy.Replica
	if dest.InPlace.Load() || dest.Staging.Folds {
		return nil // where case does not count, each name is asked for where it belongs
	}
	dir, err := f.env.Copy.OpenToChange(t)
	if err != nil {
		return nil // the caller gets the same error
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return nil
	}
	temp, err := dest.Staging.CreateDir(info.Mode & 0o777)
	if err != nil {
		return nil
	}
	_ = temp.Inherit(dir) // if it fails, they differ
	if !dir.InheritsNothing(temp, records.XattrName) || dest.Begin(temp.Dir, t.Path, t.Begun, t.Doubts) != nil {
		temp.Discard()
		return nil
	}
	return temp
}

// place gives the directory that was filled its name. If that fails, because somebody
// else wrote there or the file system does not move directories, the files count as
// not fetched: the next pass writes them in place.
func (f *fetching) place(temp *disk.TempDir, it *item) {
	dest, path := f.env.Copy.Replica, it.group.Target.Path
	parent, err := dest.Dir(mtree.ParentPath(path))
	if err == nil {
		err = temp.Place(parent, mtree.BaseName(path))
		_ = parent.Close()
	} else {
		temp.Discard()
	}
	if err == nil {
		it.result.Replaced = true
		return
	}
	dest.InPlace.Store(true)
	f.env.Log.Debug("filled in place from now on", "path", mtree.QuotePath(path), "error", err)
	lost := it.result
	*lost = Result{Failed: lost.Failed, Denied: lost.Denied, Unread: lost.Unread, Gone: lost.Gone + int64(len(lost.Names)), staged: true}
}
