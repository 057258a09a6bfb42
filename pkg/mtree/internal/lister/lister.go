package lister

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// Lister reads directories as listings, by the reading rule. The zero value lists
// what serve publishes by default. Its methods may be called by several goroutines at
// once, and call its functions so.
type Lister struct {
	TreeID          string                             // key of the directories' ids; "": they get none
	Hidden          bool                               // list names that begin with a dot
	Owner           bool                               // list owners
	Mounts          bool                               // list directories on other file systems
	Exclude         func(path string, isDir bool) bool // true: the entry is left out; nil: no entry is
	OtherFileSystem func(path string)                  // called for each entry that is left out because of its file system; nil: not called
	Now             func() mtree.Stamp                 // the clock; nil: the real one

	// For a tree that is a copy.
	Copy       bool                               // directories that are not complete are hot
	CopyFilter func(path string, isDir bool) bool // what the copy's mirror excludes, which is left out; nil: it excludes nothing
	Log        *records.Log                       // the records where there are no extended attributes; nil: none

	// Apart returns the stamps that watch keeps apart from the directories, as they
	// are after the call; nil: there are none.
	Apart func() (*state.Apart, error)

	special bool // list FIFOs, sockets and devices
}

// readTries is how often a directory that changes while it is read is read again
// before its listing is given out as hot.
const readTries = 3

// Read returns the listing of d, whose path below the root is path ("" for the root).
// Any error means that nothing is known: a listing is never too short. An entry that
// vanishes while it is read is left out. One that has another type at each look is
// left out too, and the directory counts as changed.
//
// Cost: 2 fstat, 1 getdents64 per 64 KiB of names, 1 statx per entry, by several
// goroutines where there are thousands; three times that at most if the directory
// keeps changing. Memory: some 140 bytes an entry.
func (l *Lister) Read(d *disk.Dir, path string) (mtree.Listing, error) {
	now := l.Now
	if now == nil {
		now = machine.Now
	}
	for try := 1; ; try++ {
		listing := mtree.Listing{Now: now(), HasNow: true}
		before, apart, err := l.self(d, path)
		if err != nil {
			return mtree.Listing{}, err
		}
		restless, err := l.entries(d, path, before, &listing)
		if err != nil {
			return mtree.Listing{}, err
		}
		setApart(listing.Entries, d, path, apart)
		after, err := l.Self(d, path)
		if err != nil {
			return mtree.Listing{}, err
		}
		listing.Stamp = before.MTime
		listing.ID = DirID(l.TreeID, before)
		if before.MTime != after.MTime || restless {
			if try < readTries {
				continue
			}
			listing.Stamp = mtree.Earlier(before.MTime, after.MTime)
			listing.Hot = true
		}
		if l.Copy && !l.Finished(d, path, after) {
			listing.Hot = true
		}
		return listing, nil
	}
}

// errRetyped says that an entry had another type at each look.
var errRetyped = errors.New("its type changes all the time")

// Present returns the entries of d that excluded does not exclude, in the order of
// listings: of every type, with their owners. path is that of d below the root. It is
// no listing: d is read once, and a change meanwhile goes unnoticed. A mirror reads its
// copy so, because it publishes nothing of it. excluded is called by several
// goroutines at once.
//
// Cost and memory: those of one try of Lister.Read, without the fstat.
func Present(d *disk.Dir, path string, excluded func(path string, isDir bool) bool) ([]mtree.Entry, error) {
	l := Lister{Hidden: true, Owner: true, Mounts: true, Exclude: excluded, special: true}
	var listing mtree.Listing
	restless, err := l.entries(d, path, disk.Info{}, &listing)
	if err == nil && restless {
		err = d.PathError("read", ".", errRetyped)
	}
	return listing.Entries, err
}

// entries reads the entries of d into listing. restless reports that an entry had
// another type at each look, and was left out.
func (l *Lister) entries(d *disk.Dir, path string, self disk.Info, listing *mtree.Listing) (restless bool, err error) {
	t, err := readNames(d, self.Size)
	if err != nil {
		return false, err
	}
	entries, err := l.look(d, path, self, t)
	if err != nil {
		return false, err
	}
	kept := entries[:0]
	for i, n := range t.names {
		switch n.disposition {
		case listed:
			kept = append(kept, entries[i])
		case covered:
			listing.Covered++
			fallthrough
		case excluded:
			listing.Excluded++
			listing.Hidden++
		case dotted:
			listing.Hidden++
		case retyped:
			restless = true
		}
	}
	if len(kept) > 0 {
		listing.Entries = kept
	}
	return restless, nil
}

// Self is d.Self with the directory's stamp as its mtime. For a directory that
// refuses its mtime that is the stamp in Apart, and for one of a copy on a file system
// with whole seconds the recorded one, because two stamps may be stored as one time.
// Cost: fstat, for such a copy also fgetxattr.
func (l *Lister) Self(d *disk.Dir, path string) (disk.Info, error) {
	info, _, err := l.self(d, path)
	return info, err
}

// self is Self, and returns what Apart returned, for the entries. Apart is called
// after the time was read, because watch writes an entry's stamp there before it gives
// the parent the stamp that counts it.
func (l *Lister) self(d *disk.Dir, path string) (info disk.Info, apart *state.Apart, err error) {
	if info, err = d.Self(); err != nil {
		return info, nil, err
	}
	if l.Copy && isCoarse(info) {
		info.MTime = l.recorded(d, path, info.MTime)
	}
	if l.Apart == nil {
		return info, nil, nil
	}
	apart, err = l.Apart()
	if stamp, ok := apart.StampOf(path, info.Node.Ino); ok {
		info.MTime = stamp
	}
	return info, apart, err
}

// setApart gives the entries of the directory at path the stamps that apart has for
// them. Cost: statx for each of these.
func setApart(entries []mtree.Entry, d *disk.Dir, path string, apart *state.Apart) {
	if apart == nil || len(apart.Stamps) == 0 {
		return
	}
	for i := range entries {
		e := &entries[i]
		if e.Kind != mtree.Dir {
			continue
		}
		have, ok := apart.Stamps[mtree.JoinPath(path, e.Name)]
		if !ok {
			continue
		}
		if info, err := d.Stat(e.Name); err == nil && info.Node.Ino == have.Inode {
			e.MTime = have.Stamp
		}
	}
}

// isCoarse reports whether info may be of a file system that stores whole seconds. On
// others a ctime hardly ever is one.
func isCoarse(info disk.Info) bool {
	_, m := info.MTime.Unix()
	_, c := info.CTime.Unix()
	return m == 0 && c == 0
}

// recorded returns the stamp with which the directory at path was completed, if it is
// stored as mtime; else mtime.
func (l *Lister) recorded(d *disk.Dir, path string, mtime mtree.Stamp) mtree.Stamp {
	record, ok := records.Of(d)
	if !ok && l.Log != nil {
		record, ok = l.Log.Get(path)
	}
	if ok && filetime.SameStored(mtime, record.Stamp) {
		return record.Stamp
	}
	return mtime
}

// Finished reports whether the directory at path, of a copy, is complete: by its
// extended attribute or by the log.
func (l *Lister) Finished(d *disk.Dir, path string, info disk.Info) bool {
	if records.Complete(d, info) {
		return true
	}
	if l.Log == nil {
		return false
	}
	record, ok := l.Log.Get(path)
	return ok && filetime.SameStored(info.MTime, record.Stamp)
}
