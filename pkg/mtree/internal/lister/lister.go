package lister

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// Lister reads directories as listings, by the reading rule: the stamp is read
// before the names and again behind them. The zero value lists what serve
// publishes by default.
type Lister struct {
	TreeID  string                             // key of the directories' ids; "" gives none
	Hidden  bool                               // list dotfiles too
	Exclude func(path string, isDir bool) bool // leaves out what it returns true for; nil: nothing
	Owner   bool                               // publish owners
	Local   func(path string, isDir bool) bool // of a copy, what its mirror's filters exclude: left out too; nil: nothing
	Copy    bool                               // the tree is a copy: directories that are unfinished are hot
	Mounts  bool                               // list directories on other file systems too
	Foreign func(path string)                  // told of what is passed over for its file system, by several goroutines at once; may be nil
	Now     func() mtree.Stamp                 // the clock; nil: the real one
	Log     *records.Log                       // the copy's records where there are no xattrs; nil: none

	// Apart returns what watch tells of directories apart from their times, as it
	// is after the call; nil: nothing.
	Apart func() (*state.Apart, error)
}

// readTries is how often a directory that changes while it is read is read
// again before its listing is given out as hot.
const readTries = 3

// Read returns the listing of d, whose path below the root is path ("" for the
// root). Any error means that nothing is known: it is never a short listing.
// An entry that vanishes while it is read is left out; with one whose type changes
// at each look the directory has changed while it was read.
//
// Cost: 2 fstat, 1 getdents64 per 64 KiB of names, 1 statx per entry, by several
// goroutines where there are thousands; three times that at most if the
// directory keeps changing. Memory: some 140 bytes an entry.
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
		stampApart(apart, d, path, listing.Entries)
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

// Self is d.Self with the directory's stamp as its mtime: of one that refuses its
// time that which watch tells, and of a copy whose file system is coarse the recorded
// one, for two stamps may be stored as one time. Cost: fstat, for a coarse copy also
// fgetxattr.
func (l *Lister) Self(d *disk.Dir, path string) (disk.Info, error) {
	info, _, err := l.self(d, path)
	return info, err
}

// self is Self with what watch tells of the entries, too. That is asked after the
// time was read: what is told of an entry is written before its parent gets the
// stamp that counts it.
func (l *Lister) self(d *disk.Dir, path string) (info disk.Info, apart *state.Apart, err error) {
	if info, err = d.Self(); err != nil {
		return info, nil, err
	}
	if l.Copy && coarse(info) {
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

// coarse reports whether info may be of a file system that stores whole seconds:
// of others a ctime hardly ever is one.
func coarse(info disk.Info) bool {
	_, m := info.MTime.Unix()
	_, c := info.CTime.Unix()
	return m == 0 && c == 0
}

// recorded returns the stamp that the directory at path was completed with, if
// it is stored as mtime; else mtime.
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

// Finished reports whether the directory at path, of a copy, is complete, by its
// extended attribute or the log.
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

// entries reads the entries of d into listing; restless says that of some the type
// changed again and again meanwhile, and that they are left out.
func (l *Lister) entries(d *disk.Dir, path string, self disk.Info, listing *mtree.Listing) (restless bool, err error) {
	r, err := rollOf(d, self.Size)
	if err != nil {
		return false, err
	}
	entries, err := l.look(d, path, self, r)
	if err != nil {
		return false, err
	}
	kept := entries[:0]
	for i, n := range r.refs {
		switch n.fate {
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

// LostFound is made by mkfs at the root of a file system. It is nobody's.
const LostFound = "lost+found"

// fate says whether the entry name of the directory at dir is listed, and if
// not, why.
func (l *Lister) fate(dir, name string, self, info disk.Info) fate {
	switch {
	case info.Kind == mtree.Other && (l.Mounts || !info.MountRoot):
		return unlisted
	case l.Copy && dir == "" && name == LostFound && info.Kind == mtree.Dir:
		return unlisted // of the copy's own file system: no mirror fills it
	case !l.Hidden && name[0] == '.':
		return dotted
	case l.Exclude != nil && l.Exclude(mtree.JoinPath(dir, name), info.Kind == mtree.Dir):
		return excluded
	case l.Local != nil && l.Local(mtree.JoinPath(dir, name), info.Kind == mtree.Dir):
		return excluded // nobody completes it
	case !l.Mounts && disk.IsBorder(self, info):
		if l.Foreign != nil {
			l.Foreign(mtree.JoinPath(dir, name))
		}
		if info.Kind == mtree.Dir {
			return excluded
		}
		return covered
	}
	return listed
}

// DirID returns the opaque id of a directory: 16 hex digits of HMAC-SHA-256
// under the tree id over device, inode and birth time. It tells one directory
// from another under the same name and tells nobody the inode. "" without a
// tree id.
func DirID(treeID string, info disk.Info) string {
	if treeID == "" {
		return ""
	}
	sec, nsec := info.BTime.Unix()
	var text [32]byte
	binary.BigEndian.PutUint64(text[0:], info.Node.Dev)
	binary.BigEndian.PutUint64(text[8:], info.Node.Ino)
	binary.BigEndian.PutUint64(text[16:], uint64(sec))
	binary.BigEndian.PutUint64(text[24:], uint64(nsec))
	mac := hmac.New(sha256.New, []byte(treeID))
	mac.Write(text[:])
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// stampApart gives the entries of the directory at path the stamps that are here. Cost:
// statx for each that is.
func stampApart(a *state.Apart, d *disk.Dir, path string, entries []mtree.Entry) {
	if a == nil || len(a.Stamps) == 0 {
		return
	}
	for i := range entries {
		e := &entries[i]
		if e.Kind != mtree.Dir {
			continue
		}
		have, ok := a.Stamps[mtree.JoinPath(path, e.Name)]
		if !ok {
			continue
		}
		if info, err := d.Stat(e.Name); err == nil && info.Node.Ino == have.Inode {
			e.MTime = have.Stamp
		}
	}
}

// SortEntries puts entries in listing order.
func SortEntries(entries []mtree.Entry) {
	slices.SortFunc(entries, func(a, b mtree.Entry) int { return strings.Compare(a.Name, b.Name) })
}

// fill turns an disk.Info into an Entry, reading the target of a symlink; after an
// error e is as it was.
func fill(d *disk.Dir, e *mtree.Entry, name string, info disk.Info) error {
	filled := mtree.Entry{
		Name:  name,
		Kind:  info.Kind,
		Has:   mtree.HasMode | mtree.HasCTime | mtree.HasOwner,
		Mode:  info.Mode,
		MTime: info.MTime,
		CTime: info.CTime,
		UID:   info.UID,
		GID:   info.GID,
	}
	switch info.Kind {
	case mtree.File:
		filled.Size = info.Size
	case mtree.Symlink:
		target, err := d.Readlink(name)
		if err != nil {
			return err
		}
		filled.Link = target
	}
	*e = filled
	return nil
}
