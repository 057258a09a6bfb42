package replica

import (
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// Options says which copy is opened, and how.
type Options struct {
	Path     string // the copy's directory; made if it is missing
	StateDir string // stands in for Path/.tidemark; "": it does not
	ReadOnly bool   // nothing is made, locked or written; a missing copy is taken for an empty one
	Adopt    bool   // a directory that is not empty and no copy becomes one

	Log *slog.Logger       // needed
	Now func() mtree.Stamp // the local clock; needed

	Meanwhile func() // called between the first look at Path and its lock; nil: not. Tests act there
}

// Replica is the copy, opened: its root, its marker and the lock, and what its file
// system can store. Everything below the root is reached through the root's
// descriptor. The exported fields are set when it is opened and not changed after
// that, but for those that say otherwise.
type Replica struct {
	Path     string         // as it was given
	Name     string         // of the root in the directory above it, also where that is mounted by bind
	Root     *disk.Dir      // nil: there is none, which only ReadOnly allows
	Self     state.Root     // the root, as it was when it was opened
	Staging  *disk.Staging  // where files are written before they get their names; nil with ReadOnly
	Times    filetime.Range // the times that the file system stores
	Umask    uint32         // of this process
	ReadOnly bool           // nothing in it may be changed
	NoLinks  bool           // the file system holds no symlinks

	// Filters says what is excluded: that is never deleted. nil: nothing is. It is set
	// before anything is deleted.
	Filters *glob.List

	// InPlace says that directories which were filled in Staging cannot be moved into
	// the copy. It may be set and read at any time.
	InPlace atomic.Bool

	// Flush makes everything that was written durable. Tests replace it.
	Flush func() error

	log    *slog.Logger
	now    func() mtree.Stamp
	marker *state.Marker
	lock   *state.Lock
	beacon *state.Beacon // nil: nobody can be told

	records   *records.Log // where there are no extended attributes; else nil
	beginning sync.Mutex   // held while a record is read and then written
	proven    proven

	tree     state.Tree // as in the marker; ID is "" before the first claim
	uncopied Uncopied   // as in its file
	unread   unread

	mu        sync.Mutex // of all below: steps of a pass write the status, too
	file      *state.StatusFile
	status    state.Status // as in the file
	confirmed *mtree.Stamp // by the clock here: until when the copy is known to be what the source published
}

// Close releases everything, the lock included.
func (r *Replica) Close() {
	if r.file != nil {
		_ = r.file.Close()
	}
	_ = r.beacon.Close()
	if r.records != nil {
		_ = r.records.Close()
	}
	if r.Staging != nil {
		_ = r.Staging.Close()
	}
	if r.lock != nil {
		_ = r.lock.Unlock()
	}
	if r.marker != nil {
		_ = r.marker.Close()
	}
	if r.Root != nil {
		_ = r.Root.Close()
	}
}

// Now returns the time of the clock here.
func (r *Replica) Now() mtree.Stamp { return r.now() }

// Dir opens the directory at path. No mount is crossed.
func (r *Replica) Dir(path string) (*disk.Dir, error) {
	if r.Root == nil {
		return nil, fs.ErrNotExist
	}
	return r.Root.OpenDirPath(path, false)
}

// IsEmpty reports whether nothing is in the root but a lost+found. A copy whose
// marker is in it is not empty.
func (r *Replica) IsEmpty() (bool, error) {
	names, err := r.Root.Names()
	if err != nil {
		return false, err
	}
	return len(names) == 0 || len(names) == 1 && names[0] == lister.LostFound, nil
}

// Tree returns who the copy is a copy of. Its ID is "" before the first claim.
func (r *Replica) Tree() state.Tree { return r.tree }

// SetTree writes who the copy is a copy of, if that is news.
func (r *Replica) SetTree(next state.Tree) error {
	if next.Same(r.tree) {
		return nil
	}
	if err := r.marker.WriteTree(next); err != nil {
		return err
	}
	r.tree = next
	return nil
}

// TreeFile returns the bytes of the file that names the tree; nil if there is none.
func (r *Replica) TreeFile() []byte {
	if r.marker == nil {
		return nil
	}
	text, err := state.ReadFile(r.marker.Dir(), "tree")
	if err != nil {
		return nil
	}
	return text
}
