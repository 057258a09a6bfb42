package backup

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Options says where what is deleted or overwritten goes.
type Options struct {
	Dir     string        // absolute, or from the copy; made if it is missing
	Age     time.Duration // Expire removes what is older; 0: nothing
	Dest    string        // real path of the copy
	Sources []string      // local sources, which the directory must not lie in

	Root    *disk.Dir     // of the copy; must outlive the Dir
	Staging *disk.Staging // of the copy

	Log  *slog.Logger
	Now  func() mtree.Stamp // the local clock
	Kept *atomic.Int64      // counts entries that were kept
}

// Dir is a backup directory. Its methods may be called by several goroutines at once, except for Begin
// and Close.
type Dir struct {
	o      Options
	path   string // without symlinks in the part that the copy adds; for messages, and to look whether it is still there
	inside bool   // it is Inside
	key    string // of the copy: see nameOf
	links  bool   // files get second names in it

	mu    sys.Mutex // for the fields below
	dir   *disk.Dir
	at    mtree.Stamp // when the pass began, and later after collisions
	turns []*turn     // what this pass made; the last one is in use
	full  bool        // the last one has a path that is taken: the next one is to be made
	dirty dirty
}

// turn is a directory for what one pass loses.
type turn struct {
	name string
	dir  *disk.Dir
	kept int // how many entries were moved there
}

// Check returns why a backup directory cannot be used, as far as that shows without writing anything.
func Check(o *Options) error {
	b := newDir(o)
	if b.inside || o.Root == nil {
		return nil
	}
	if err := b.mayLie(); err != nil {
		return err
	}
	at, err := disk.OpenRoot(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		at, err = disk.OpenRoot(filepath.Dir(b.path))
	}
	if err != nil {
		return exit.With(exit.Local, err, remedyUse)
	}
	defer at.Close()
	there, err := at.Self()
	if err != nil {
		return err
	}
	if here, err := o.Root.Self(); err == nil && here.Node.Dev != there.Node.Dev {
		return exit.With(exit.Refused, at.PathError("rename", ".", disk.ErrBeyond), remedyOther)
	}
	return nil
}

// Open opens the backup directory, and makes it if it is missing. It refuses one within the copy but for
// Inside, or within a local source (exit.Usage), one on another file system or mount, and one in
// another tree or copy (exit.Refused).
func Open(o *Options) (*Dir, error) {
	b := newDir(o)
	key, err := state.PlaceOf(o.Root)
	if err != nil {
		return nil, exit.With(exit.Local, err, "")
	}
	b.key = key
	if err := b.reopen(); err != nil {
		return nil, err
	}
	return b, nil
}

func newDir(o *Options) *Dir {
	b := &Dir{o: *o}
	b.path, b.inside = resolve(o.Dir, o.Dest)
	return b
}

// Path returns the path of the backup directory, as Options.Dir takes it for this copy wherever it is started.
func (b *Dir) Path() string {
	if b.inside {
		return Inside
	}
	return b.path
}

// reopen opens the backup directory in the place of the one that is open, if any.
func (b *Dir) reopen() error {
	dir, err := b.open()
	if err != nil {
		return err
	}
	if err := b.probe(dir); err != nil {
		_ = dir.Close()
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir != nil {
		_ = b.dir.Close()
	}
	b.dir = dir
	return nil
}

// Begin begins a pass. If the directory was removed it is made again; if its path leads elsewhere now,
// that is used, if it may be. An error (exit.Local) says that nothing can be kept.
func (b *Dir) Begin(at mtree.Stamp) error {
	b.end()
	err := b.still()
	if err == nil && !b.inside {
		err = b.mayLie() // somebody may keep a tree or copy around it since
	} else if err != nil {
		err = b.reopen()
	}
	if err != nil {
		return exit.With(exit.Local, err, "")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = at
	return nil
}

// still returns an error if the path does not lead to the directory that is open.
func (b *Dir) still() error {
	if !b.inside {
		return b.dir.StillAt(b.path)
	}
	there, err := b.o.Root.OpenDirPath(Inside, false)
	if err != nil {
		return err
	}
	defer there.Close()
	was, err1 := b.dir.Self()
	is, err2 := there.Self()
	if was.Node != is.Node {
		return disk.ErrReplaced
	}
	return errors.Join(err1, err2)
}

// end closes what the pass made, and removes it if nothing was kept there.
func (b *Dir) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.turns {
		if t.kept == 0 {
			removeEmpty(t.dir)
			_ = b.dir.RemoveDir(t.name)
		}
		_ = t.dir.Close()
	}
	b.turns, b.full = nil, false
	if len(b.dirty.at) > 0 {
		b.dirty = dirty{all: true} // a pass that was stopped flushes nothing
	}
}

// removeEmpty removes the directories in dir that are empty, or hold only such.
func removeEmpty(dir *disk.Dir) {
	names, _ := dir.Names()
	for _, name := range names {
		if sub, err := dir.OpenDir(name); err == nil {
			removeEmpty(sub)
			_ = sub.Close()
			_ = dir.RemoveDir(name)
		}
	}
}

// Close releases what is open. It may be called for nil.
func (b *Dir) Close() {
	if b == nil {
		return
	}
	b.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir != nil { // guard (always): TestABackupIsClosedTwice
		_ = b.dir.Close()
	}
	b.dir = nil
}
