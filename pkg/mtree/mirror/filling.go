package mirror

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// A directory that was made in this pass and is to hold nothing but files which
// come with one fetch is filled aside: it replaces the empty one that has its
// name, with all that came. So nobody ever sees a file that is not whole, and a
// kill loses at most the files of the fetches under way.

// leastFilled is from how many files on that is worth it: making and moving one
// more directory costs what it saves for six.
const leastFilled = 16

// openAside makes a directory to be filled for a target; nil if its own must be.
func (f *fetching) openAside(t *target) *disk.TempDir {
	dest := f.work.dest
	if dest.InPlace.Load() || dest.Staging.Folds {
		return nil // Place has to ask for each name where case does not count
	}
	dir, err := f.work.openToChange(t)
	if err != nil {
		return nil // the caller meets it again
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
	if temp.Inherit(dir) != nil || !dir.InheritsNothing(temp, records.XattrName) || dest.Begin(temp.Dir, t.path, t.record, t.doubts) != nil {
		temp.Discard()
		return nil
	}
	return temp
}

// place gives the directory that was filled for a group its name. Where that
// does not go, because somebody else wrote there or the file system does not
// move directories, the files have not come: the next pass writes them in place.
func (f *fetching) place(temp *disk.TempDir, it *item) {
	dest, path := f.work.dest, it.group.target.path
	parent, err := dest.Dir(mtree.ParentPath(path))
	if err == nil {
		err = temp.Place(parent, mtree.BaseName(path))
		_ = parent.Close()
	} else {
		temp.Discard()
	}
	if err == nil {
		it.result.replaced = true
		return
	}
	dest.InPlace.Store(true)
	f.work.log.Debug("filled in place from now on", "path", mtree.QuotePath(path), "error", err)
	lost := it.result
	*lost = fetchResult{failed: lost.failed, denied: lost.denied, gone: lost.gone + int64(len(lost.names)), filled: true}
}
