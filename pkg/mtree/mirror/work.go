package mirror

import (
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/selfcopy"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// work is what the steps of a pass work with: the source, the copy and the rules. Its
// methods are the steps. They do I/O, several at once, each in a goroutine of its own.
// A step knows only what it is given by value, and it returns a result that the pass
// records. No field changes while a pass runs; what verified, held, arriving and change
// point to may be used by several goroutines.
type work struct {
	source       contents
	self         *selfcopy.Detector
	root         *source.Root // what the source said of its tree when the pass began
	dest         *replica.Replica
	filters      *glob.List
	held         *replica.HeldList // deletions that were held when the pass began
	verified     *verifiedFiles
	limiter      *rate.Limiter
	arriving     *atomic.Int64 // counts bytes of files as they arrive; nil: nobody asks
	beforeChange func()        // called before each change of the copy, by several goroutines
	log          *slog.Logger

	dryRun   bool // nothing is changed
	noDelete bool // nothing is deleted, but for what was held before
	noLinks  bool // symlinks are left out
	owner    bool // owners are copied
	syncEach bool // each file is flushed before it gets its name
}

// target is a directory of the copy that a step works on, and what its pass knows
// of it.
type target struct {
	path   string         // "" is the root
	listed mtree.Stamp    // as its parent lists it; zero for the root
	doubts replica.Doubts // what is not trusted of it and of all below
	fresh  bool           // it was made in this pass
	nested bool           // it or one above it, in the copy, is the root of another tree or copy
	record records.Record // what it will be completed with; known after its visit
}

// fileGroup is files of one directory to fetch, or to compare by their sums.
type fileGroup struct {
	target  target
	changes []mtree.Change
	staged  bool           // the directory is filled in the staging directory
	approx  *source.Approx // how well the source knows these files; nil: exactly
}

// failure is a path that could not be made right.
type failure struct {
	path string
	err  error
}

// openCopy opens the directory of the copy at path. If its owner may not read or enter
// it, it is made accessible; it gets its mode back with its stamp.
func (w *work) openCopy(path string) (*disk.Dir, error) {
	dir, err := w.dest.Dir(path)
	if err == nil || !disk.IsDenied(err) || path == "" || w.dryRun {
		return dir, err
	}
	up, upErr := w.dest.Dir(mtree.ParentPath(path))
	if upErr != nil {
		return nil, err
	}
	defer up.Close()
	name := mtree.BaseName(path)
	info, statErr := up.Stat(name)
	if statErr != nil || info.Kind != mtree.Dir {
		return nil, err
	}
	if err := up.ChmodEntry(name, info.Mode|0o700); err != nil {
		return nil, err
	}
	return w.dest.Dir(path)
}

// makeReady makes a directory ready to be changed: it becomes writable for its owner,
// and its record says that it is unfinished.
func (w *work) makeReady(dir *disk.Dir, info disk.Info, t *target) error {
	w.beforeChange()
	if info.Mode&0o700 != 0o700 {
		if err := dir.Chmod(info.Mode | 0o700); err != nil {
			return err
		}
	}
	return w.dest.Begin(dir, t.path, t.record, t.doubts)
}

// openToChange opens the directory of a target for a step after its visit.
func (w *work) openToChange(t *target) (*disk.Dir, error) {
	dir, err := w.openCopy(t.path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Self()
	if err == nil {
		err = w.makeReady(dir, info, t)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}
