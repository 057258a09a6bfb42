package lister

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// readTries is how often a directory that changes while it is read is read again
// before its listing is given out as hot.
const readTries = 3

// Read returns the listing of d, whose path below the root is path ("" for the root).
// Any error means that nothing is known: a listing is never too short. An entry that
// vanishes while it is read is left out. One that has another type at each look is
// left out too, and the directory counts as changed.
//
// Cost: 2 fstat, 1 StatPath with Root, 1 getdents64 per 64 KiB of names, 1 statx per entry, by
// several goroutines where there are thousands; three times that at most if the directory
// keeps changing. Memory: some 140 bytes an entry.
func (l *Lister) Read(d *disk.Dir, path string) (mtree.Listing, error) {
	for try := 1; ; try++ {
		listing := mtree.Listing{Now: l.clock(), HasNow: true, Hot: l.isDoubted()}
		before, exceptions, err := l.self(d, path)
		if err != nil {
			return mtree.Listing{}, err
		}
		restless, err := l.entries(d, path, before, &listing)
		if err != nil {
			return mtree.Listing{}, err
		}
		setExceptions(listing.Entries, d, path, exceptions)
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
			listing.Stamp = mtree.Earlier(before.MTime, after.MTime) // guard: TestChangingDirectoryIsHot
			listing.Hot = true                                       // guard: TestChangingDirectoryIsHot
		}
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
	var listing mtree.Listing
	restless, err := l.entries(d, path, disk.Info{}, &listing)
	if restless {
		err = d.PathError("read", ".", errRetyped)
	}
	return listing.Entries, err
}

// entries reads the entries of d into listing. restless reports that an entry had
// another type at each look, and was left out; after an error it is false.
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
	var mounts []byte
	for i, n := range t.names {
		switch n.disposition {
		case listed:
			kept = append(kept, entries[i])
		case covered, border:
			mounts = append(mounts, t.bytes(n)...)
			mounts = append(mounts, 0)
			if n.disposition == covered {
				listing.Covered++
			}
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
	if mounts != nil {
		sum := sha256.Sum256(mounts)
		listing.Mounts = hex.EncodeToString(sum[:mountsSize])
	}
	return restless, nil
}

// mountsSize is how many bytes of a sum tell which names are mount points.
const mountsSize = 4

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
