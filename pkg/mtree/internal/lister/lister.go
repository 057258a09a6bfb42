package lister

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// Lister reads directories as listings, by the reading rule. The zero value lists what
// serve publishes by default. Several goroutines may call its methods at once, and its
// functions are called in the same way.
type Lister struct {
	TreeID          string                             // key of the directories' ids; "": they get none
	SameKey         string                             // key of the ids of files with more than one name, without a TreeID; "": they get none then
	Hidden          bool                               // list names that begin with a dot
	Owner           bool                               // list owners
	Mounts          bool                               // list directories on other file systems
	Exclude         func(path string, isDir bool) bool // true: the entry is left out; nil: no entry is
	OtherFileSystem func(path string)                  // called for each entry that is left out because of its file system; nil: not called
	Now             func() mtree.Stamp                 // the clock; nil: the real one

	// Root is the root of the tree. With it, a directory to which its path no longer leads once
	// it was read counts as hot. nil: that goes unnoticed.
	Root *disk.Dir

	// For a tree that is a copy.
	Copy       bool                               // directories that are not complete are hot
	CopyFilter func(path string, isDir bool) bool // true: the copy's mirror excludes the entry, which is left out; nil: it excludes nothing
	Log        *records.Log                       // the records where there are no extended attributes; nil: none

	// MayBeCopy says that the tree is a copy, or may be one that lost its marker. It needs Root.
	// While nothing below the root is trusted, what directories show may come from other options
	// of the source than those that the copy tells of: all are hot.
	MayBeCopy bool

	// Exceptions returns the stamps that watch keeps for directories that refuse them,
	// as they are after the call; nil: there are none.
	Exceptions func() (*state.Exceptions, error)

	// Changed returns the names that the keeper of the tree wrote down for the directory at path,
	// ascending, each once: all that changed since a reader saw it with that stamp, and whose change
	// was published with its present stamp or an earlier one. ErrEarly: that is written down in a
	// moment. Any other error: it is not known. nil: nobody writes it down.
	Changed func(path string, stamp mtree.Stamp) (names []string, err error)

	special bool // list FIFOs, sockets and devices
}

// Self is d.Self with the directory's stamp as its mtime. For a directory that refuses
// its mtime that is the stamp in Exceptions. For one of a copy on a file system with
// whole seconds it is the recorded one, because two stamps may be stored as one time.
// Cost: fstat, for such a copy also fgetxattr.
func (l *Lister) Self(d *disk.Dir, path string) (disk.Info, error) {
	info, _, err := l.self(d, path)
	return info, err
}

// self is Self, and also returns the Exceptions, for the entries. It reads them after the
// time, because watch writes an entry's stamp there before it gives the parent the stamp
// that counts it.
func (l *Lister) self(d *disk.Dir, path string) (info disk.Info, exceptions *state.Exceptions, err error) {
	if info, err = d.Self(); err != nil {
		return info, nil, err
	}
	if l.Copy && isCoarse(info) {
		info.MTime = l.recorded(d, path, info.MTime)
	}
	if l.Exceptions == nil {
		return info, nil, nil
	}
	exceptions, err = l.Exceptions()
	if stamp, ok := exceptions.StampOf(path, info.Node.Ino); ok {
		info.MTime = stamp
	}
	return info, exceptions, err
}

// hasMoved reports whether path does not lead to the directory with these attributes any more,
// which were read before: then the stamp in them may have been given to it at another path. The
// directory that is at path now may have the same stamp, of the same batch. Cost: as StatPath.
func (l *Lister) hasMoved(path string, info disk.Info) bool {
	if l.Root == nil || path == "" {
		return false
	}
	there, err := l.Root.StatPath(path, l.Mounts)
	return err != nil || there.Node != info.Node
}

// clock returns the time.
func (l *Lister) clock() mtree.Stamp {
	if l.Now == nil {
		return machine.Now()
	}
	return l.Now()
}

// isCoarse reports whether info may be of a file system that stores whole seconds. On
// others a ctime is hardly ever a whole second.
func isCoarse(info disk.Info) bool { return isWhole(info.MTime) && isWhole(info.CTime) }

// isWhole reports whether a time is a whole second.
func isWhole(t mtree.Stamp) bool {
	_, nsec := t.Unix()
	return nsec == 0
}

// recorded returns the stamp with which the directory at path was completed, if it is
// stored as mtime; else mtime.
func (l *Lister) recorded(d *disk.Dir, path string, mtime mtree.Stamp) mtree.Stamp {
	record, ok := records.Of(d)
	if !ok && l.Log != nil {
		record, ok = l.Log.Get(path)
	}
	if ok && record.IsStored(mtime) {
		return record.Stamp
	}
	return mtime
}

// isDoubted reports whether nothing in the copy is trusted, or nobody knows. Cost: one fgetxattr.
func (l *Lister) isDoubted() bool {
	if !l.MayBeCopy {
		return false
	}
	record, _, err := records.Read(l.Root)
	var logged records.Record
	if l.Log != nil {
		logged, _ = l.Log.Get("")
	}
	return record.IsDoubtedBelow() || logged.IsDoubtedBelow() || err != nil
}

// Finished reports whether the directory at path in a copy is complete: by its extended
// attribute or by the log.
func (l *Lister) Finished(d *disk.Dir, path string, info disk.Info) bool {
	if records.Complete(d, info) {
		return true
	}
	if l.Log == nil {
		return false
	}
	record, ok := l.Log.Get(path)
	return ok && record.IsStored(info.MTime)
}
