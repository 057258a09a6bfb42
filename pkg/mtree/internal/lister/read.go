package lister

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// readTries is how often a directory that changes while it is read is read again
// before its listing is given out as hot.
const readTries = 3

// manyNames is how many names a directory has whose changes are looked for (Lister.Changed)
// before it is read again: that takes longer than a look into a journal.
const manyNames = 1_000

// Read returns the listing of d, whose path below the root is path ("" for the root).
// Any error means that nothing is known: a listing is never too short. An entry that
// vanishes while it is read is left out. One that has another type at each look is
// left out too, and the directory counts as changed.
//
// Cost: 2 fstat, 1 StatPath with Root, 1 getdents64 per 64 KiB of names, 1 statx per entry, by
// several goroutines where there are thousands; three times that at most if the directory
// keeps changing. With Changed, only the names that changed are looked at again, and Read may wait
// for them for catchUpTime. Memory: some 140 bytes an entry.
func (l *Lister) Read(d *disk.Dir, path string) (mtree.Listing, error) {
	for try := 1; ; try++ {
		listing := mtree.Listing{Now: l.clock(), HasNow: true, Hot: l.isDoubted()}
		before, exceptions, err := l.self(d, path)
		if err != nil {
			return mtree.Listing{}, err
		}
		have, err := l.present(d, path, before)
		if err != nil {
			return mtree.Listing{}, err
		}
		after, err := l.Self(d, path)
		if err != nil {
			return mtree.Listing{}, err
		}
		listing.Stamp = before.MTime
		listing.ID = DirID(l.TreeID, before)
		changed := before.MTime != after.MTime
		if changed && l.Changed != nil && (try == readTries || len(have.entries) >= manyNames) { // guard (without len(have.entries)): TestCatchUpOfManyNames
			r := catchUp{l: l, d: d, path: path, from: before, had: exceptions, have: have}
			caught, err := r.run()
			if err != nil {
				return mtree.Listing{}, err
			}
			if caught {
				changed, after, listing.Stamp = false, r.after, r.after.MTime // and exceptions have no stamps
			}
		}
		if changed || have.isRestless() {
			if try < readTries {
				continue
			}
			listing.Stamp = mtree.Earlier(listing.Stamp, after.MTime) // guard: TestChangingDirectoryIsHot
			listing.Hot = true                                        // guard: TestChangingDirectoryIsHot
		}
		have.store(&listing)
		setExceptions(listing.Entries, d, path, exceptions)
		if l.hasMoved(path, after) { // guard: TestADirectoryThatMovedAway
			listing.Hot = true
		}
		if l.Copy && !l.Finished(d, path, after) || l.isDoubted() { // guard: TestUnfinishedDirectoryOfACopyIsHot
			listing.Hot = true
		}
		return listing, nil
	}
}

// errRetyped says that an entry had another type at each look.
var errRetyped = errors.New("its type changes all the time")

// Present returns the entries of d that excluded does not exclude, in the order of
// listings: of every type, with their owners. path is that of d below the root. It is no
// listing: d is read once, and a change meanwhile goes unnoticed. A mirror reads its copy
// in this way, because it does not publish the result. excluded is called by several
// goroutines at once.
//
// Cost and memory: as for one try of Lister.Read, without the fstat.
func Present(d *disk.Dir, path string, excluded func(path string, isDir bool) bool) ([]mtree.Entry, error) {
	l := Lister{Hidden: true, Owner: true, Mounts: true, Exclude: excluded, special: true}
	have, err := l.present(d, path, disk.Info{})
	if err != nil {
		return nil, err
	}
	if have.isRestless() {
		err = d.PathError("read", ".", errRetyped)
	}
	var listing mtree.Listing
	have.store(&listing)
	return listing.Entries, err
}

// setExceptions gives the entries of the directory at path the stamps that exceptions
// has for them. Cost: statx for each of these.
func setExceptions(entries []mtree.Entry, d *disk.Dir, path string, exceptions *state.Exceptions) {
	if exceptions == nil || len(exceptions.Stamps) == 0 {
		return
	}
	for i := range entries {
		e := &entries[i]
		if e.Kind != mtree.Dir {
			continue
		}
		have, ok := exceptions.Stamps[mtree.JoinPath(path, e.Name)]
		if !ok {
			continue
		}
		if info, err := d.Stat(e.Name); err == nil && info.Node.Ino == have.Inode {
			e.MTime = have.Stamp
		}
	}
}
