package replica

import (
	"io/fs"
	"log/slog"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/backup"
	"tidemark/pkg/mtree/mirror/internal/links"
)

// Options says which copy is opened, and how.
type Options struct {
	Path     string // the copy's directory; made if it is missing
	StateDir string // where the state is kept; "": in Path/.tidemark
	ReadOnly bool   // nothing is made, locked or written; a missing copy is taken for an empty one
	Adopt    bool   // a directory that is neither empty nor a copy becomes one

	HardLinks bool // Links is kept

	Before *Replica // closed now, and the copy lost its .tidemark meanwhile; else nil

	Log *slog.Logger       // needed
	Now func() mtree.Stamp // the local clock; needed

	Meanwhile func() // called after the first look at Path and before its lock; may be nil. Tests act there
}

// Replica is the copy, opened: its root, its marker and the lock, and what its file
// system can store. Everything below the root is reached through the root's
// descriptor. The exported fields are set by Open and then stay, except those that say
// otherwise.
type Replica struct {
	Path     string         // as it was given
	Name     string         // of the root in the directory above it, also if the root is a bind mount
	Root     *disk.Dir      // nil: it does not exist, which only ReadOnly allows
	Self     state.Root     // the root, as it was when it was opened
	Staging  *disk.Staging  // where files are written before they get their names; nil with ReadOnly
	Times    filetime.Range // the times that the file system stores
	Umask    uint32         // of this process
	ReadOnly bool           // nothing in it may be changed
	NoLinks  bool           // the file system holds no symlinks

	// Filters says what is excluded and so never deleted; nil: nothing. It is set before
	// anything is deleted.
	Filters *glob.List

	// Backup is where what is deleted or overwritten goes; nil: it is gone. It is set before anything is
	// changed, and closed by Close.
	Backup *backup.Dir

	// InPlace says that directories filled in Staging cannot be moved into the copy. It
	// may be set and read at any time.
	InPlace atomic.Bool

	// Links is what is known of hard links in the copy; nil: they are not copied. It is nil with
	// ReadOnly, too.
	Links *links.Index

	// Flush makes everything that was written durable. Tests replace it.
	Flush func() error

	log    *slog.Logger
	now    func() mtree.Stamp
	marker *state.Marker
	lock   *state.Lock
	beacon *state.Beacon // nil: nothing is announced

	records   *records.Log // used where there are no extended attributes; else nil
	beginning sys.Mutex    // held while a record is read and then written
	stay      stay         // the present one
	removed   atomic.Bool  // directories were deleted since forget
	linesLost atomic.Bool  // the log of the records may lack lines of another stay
	proven    proven

	announcer announcer

	tree     state.Tree // as in the marker; ID is "" before the first claim
	uncopied Uncopied   // as in its file
	unread   unread

	mu        sys.Mutex // for the fields below: steps of a pass write the status, too
	file      *state.StatusFile
	status    state.Status // as in the file
	confirmed *mtree.Stamp // by the local clock: up to when the copy is known to equal what the source published
}

// Close releases everything, the lock included.
func (r *Replica) Close() {
	r.Backup.Close()
	if r.file != nil {
		_ = r.file.Close()
	}
	_ = r.beacon.Close()
	r.announcer.close()
	if r.records != nil {
		_ = r.records.Close()
	}
	r.Links.Close()
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

// Now returns the time of the local clock.
func (r *Replica) Now() mtree.Stamp { return r.now() }

// Dir opens the directory at path. No mount is crossed.
func (r *Replica) Dir(path string) (*disk.Dir, error) {
	if r.Root == nil {
		return nil, fs.ErrNotExist
	}
	return r.Root.OpenDirPath(path, false)
}

// Enter opens the directory at path to look into it. Those above it, and itself, are made
// accessible if their owner may not read or enter them; they get their modes back with their stamps.
func (r *Replica) Enter(path string) (*disk.Dir, error) {
	dir, err := r.Dir(path)
	if !disk.IsDenied(err) || path == "" {
		return dir, err
	}
	up, upErr := r.Enter(mtree.ParentPath(path))
	if upErr != nil {
		return nil, err
	}
	defer up.Close()
	name := mtree.BaseName(path)
	if above, infoErr := up.Self(); infoErr != nil || allow(up, above) != nil {
		return nil, err
	}
	info, statErr := up.Stat(name)
	if statErr != nil || info.Kind != mtree.Dir {
		return nil, err
	}
	if err := up.ChmodEntry(name, info.Mode|0o700); err != nil {
		return nil, err
	}
	return r.Dir(path)
}

// allow makes a directory accessible to its owner.
func allow(dir *disk.Dir, info disk.Info) error {
	if info.Mode&0o700 == 0o700 {
		return nil
	}
	return dir.Chmod(info.Mode | 0o700)
}

// IsEmpty reports whether the root has no entry except the marker and a lost+found.
func (r *Replica) IsEmpty() (bool, error) {
	names, err := r.Root.Names()
	if err != nil {
		return false, err
	}
	return len(names) == 0 || len(names) == 1 && names[0] == lister.LostFound, nil
}

// Tree returns which tree the copy is of. Its ID is "" before the first claim.
func (r *Replica) Tree() state.Tree { return r.tree }

// SetTree writes which tree the copy is of, if that changed.
func (r *Replica) SetTree(next state.Tree) error {
	if next.Same(r.tree) {
		return nil
	}
	if err := r.marker.WriteTree(next); err != nil {
		return err
	}
	if r.Links != nil && (next.ID != r.tree.ID || next.Epoch != r.tree.Epoch || next.Upstream != r.tree.Upstream) { // guard: TestLinksAfterAnotherEpoch
		// By another clock, no version is later than one of before. And another source may have the tree on
		// another disk, with other numbers for each file: then all names would look as if they were taken apart.
		r.Links.Forget()
	}
	r.tree = next
	r.announcer.forget()
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
