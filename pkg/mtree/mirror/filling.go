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

// fillsAside reports whether these files are all that the directory of n is to
// hold, and worth filling it aside.
func (n *node) fillsAside(files int) bool {
	return n.fresh && n.parent != nil && files >= leastFilled && files == n.entries
}

// openAside makes a directory to be filled for n; nil if n's own must be.
func (f *fetching) openAside(n *node) *disk.DraftDir {
	if f.dest.InPlace.Load() || f.dest.Staging.Folds {
		return nil // Place has to ask for each name where case does not count
	}
	dir, err := f.openToChange(n)
	if err != nil {
		return nil // the caller meets it again
	}
	defer dir.Close()
	info, err := dir.Self()
	if err != nil {
		return nil
	}
	draft, err := f.dest.Staging.CreateDir(info.Mode & 0o777)
	if err != nil {
		return nil
	}
	if draft.Inherit(dir) != nil || !dir.InheritsNothing(draft, records.XattrName) || f.dest.Begin(draft.Dir, n.path, n.record, n.doubts()) != nil {
		draft.Discard()
		return nil
	}
	return draft
}

// place gives the directory that was filled for the parcel its name. Where that
// does not go, because somebody else wrote there or the file system does not
// move directories, the files have not come: the next pass writes them in place.
func (f *fetching) place(draft *disk.DraftDir, it *item) {
	parent, err := f.dest.Dir(it.n.parent.path)
	if err == nil {
		err = draft.Place(parent, it.n.name)
		_ = parent.Close()
	} else {
		draft.Discard()
	}
	if err == nil {
		it.haul.replaced = true
		return
	}
	f.dest.InPlace.Store(true)
	f.config.Log.Debug("filled in place from now on", "path", mtree.QuotePath(it.n.path), "error", err)
	lost := it.haul
	*lost = haul{failed: lost.failed, denied: lost.denied, gone: lost.gone + int64(len(lost.names)), filled: true}
}
