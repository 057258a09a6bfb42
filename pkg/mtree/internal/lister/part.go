package lister

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// ErrWhole says that a part cannot tell what must be told of a directory: its whole listing
// is needed.
var ErrWhole = errors.New("only a whole listing tells it")

// PartReading is the reading of a part of a directory: see [Lister.BeginPart].
type PartReading struct {
	l          *Lister
	d          *disk.Dir
	path       string
	self       disk.Info // s0 is its mtime
	now        mtree.Stamp
	exceptions *state.Exceptions
}

// BeginPart reads the stamp of the directory at path, for a part. The caller then finds out
// which names have changed, **after** this call, and calls Read with them. The directory must
// stay open until then. ErrWhole: it has no parts. Cost: fstat; in a copy more.
func (l *Lister) BeginPart(d *disk.Dir, path string) (*PartReading, error) {
	r := &PartReading{l: l, d: d, path: path, now: l.clock()}
	var err error
	if r.self, r.exceptions, err = l.self(d, path); err != nil {
		return nil, err
	}
	if r.exceptions.Refuses(path) || // guard: TestPartWithExceptions
		l.Copy && isWhole(r.self.CTime) || // guard: TestPartOfACoarseCopy
		l.isDoubted() { // guard: TestPartOfACopyInDoubt
		return nil, ErrWhole // its time is not its stamp, or not trusted
	}
	return r, nil
}

// Stamp returns the stamp that was read.
func (r *PartReading) Stamp() mtree.Stamp { return r.self.MTime }

// Read looks at names, which ascend, each once. The listing that it returns has no spans yet:
// a name that is not there is in Gone, one that by its bytes may not be published is in
// neither. It is hot if the directory has another stamp by now, and then has the earlier one: the
// caller begins again, or tells it so.
//
// ErrWhole is returned if one of the names is there and not published, if its type decides
// whether it is, if the directory is not at its path any more, or not complete in a copy. Any
// other error means that nothing is known. Cost: a statx for each name, readlinkat for a
// symlink; fstat, StatPath.
func (r *PartReading) Read(names []string) (listing mtree.Listing, err error) {
	l := r.l
	listing = mtree.Listing{Stamp: r.self.MTime, Now: r.now, HasNow: true, ID: DirID(l.TreeID, r.self)}
	if err := r.names(names, &listing); err != nil {
		return mtree.Listing{}, err
	}
	after, err := l.Self(r.d, r.path)
	if err != nil {
		return mtree.Listing{}, err
	}
	if l.hasMoved(r.path, after) || // guard: TestPartOfADirectoryThatMovedAway
		l.Copy && !l.Finished(r.d, r.path, after) || // guard: TestNoPartOfAnUnfinishedDirectory
		l.isDoubted() { // guard: TestPartOfACopyInDoubt
		return mtree.Listing{}, ErrWhole
	}
	listing.Stamp = mtree.Earlier(r.self.MTime, after.MTime) // guard: TestPartOfADirectoryThatIsStamped
	listing.Hot = r.self.MTime != after.MTime                // guard: TestPartOfADirectoryThatIsStamped
	return listing, nil
}

// names fills in what became of the names.
func (r *PartReading) names(names []string, listing *mtree.Listing) error {
	for _, text := range names {
		if r.isException(text) {
			return ErrWhole
		}
	}
	_, err := r.l.namesOf(r.d, r.path, r.self, names, listing, true)
	return err
}

// Names returns which of these names of the directory at path may be told, as a listing would
// tell them: as Entries or, if they are not there, in Gone. names ascend, each once. left says that
// others of them may have been listed before, or are now. It is no part: nothing says when each was
// so. Cost: fstat, and statx for each name.
func (l *Lister) Names(d *disk.Dir, path string, names []string) (listing mtree.Listing, left bool, err error) {
	self, err := d.Self()
	if err != nil {
		return listing, false, err
	}
	left, err = l.namesOf(d, path, self, names, &listing, false)
	return listing, left, err
}

// namesOf fills in what became of the names that may be told. left says that others may have been
// told before. With strict, that is ErrWhole.
func (l *Lister) namesOf(d *disk.Dir, path string, self disk.Info, names []string, listing *mtree.Listing, strict bool) (left bool, err error) {
	t := &nameTable{}
	for _, text := range names {
		told, sure := l.tells(path, text)
		switch {
		case !sure && strict: // guard: TestPartOfWhatIsNotPublished
			return true, ErrWhole
		case told:
			t.add(text)
		case !sure:
			left = true // guard: TestNames
		}
	}
	entries, err := l.look(d, path, self, t)
	if err != nil {
		return left, err
	}
	for i, n := range t.names {
		switch n.disposition {
		case listed:
			listing.Entries = append(listing.Entries, entries[i])
		case vanished:
			listing.Gone = append(listing.Gone, string(t.bytes(n)))
		default: // a reader may have what it was before
			if strict { // guard: TestPartOfWhatIsNotPublished
				return true, ErrWhole
			}
			left = true // guard: TestNames
		}
	}
	return left, nil
}

// isException reports whether the entry of this name has another stamp than its time, or is
// not published.
func (r *PartReading) isException(text string) bool {
	if r.exceptions == nil {
		return false
	}
	path := mtree.JoinPath(r.path, text)
	_, unread := r.exceptions.Unread[path]
	return unread || r.exceptions.Refuses(path)
}

// tells reports whether a name may be told, there or gone, by its bytes alone. It is not sure
// if the type decides that, and then false.
func (l *Lister) tells(dir, text string) (told, sure bool) {
	if mtree.CheckName(text) != nil || // guard: TestPartTellsNoHiddenName
		!l.Hidden && text[0] == '.' { // guard: TestPartTellsNoHiddenName
		return false, true
	}
	path, sure := mtree.JoinPath(dir, text), true
	for _, excludes := range []func(path string, isDir bool) bool{l.Exclude, l.CopyFilter} {
		if excludes == nil {
			continue
		}
		asDir, asFile := excludes(path, true), excludes(path, false)
		if asDir && asFile { // guard: TestPartsTellNoExcludedName
			return false, true
		}
		sure = sure && asDir == asFile
	}
	return sure, sure
}
