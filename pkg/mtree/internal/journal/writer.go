package journal

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// Writer writes the journal of a tree. It belongs to one goroutine, that of the holder of
// the tree's lock. Before Begin it writes nothing: Write returns nil. The methods may be
// called on nil, and then do nothing.
type Writer struct {
	dir *state.Marker
}

// Begin begins a new run, with a random RUN, in the files of m: both are emptied. Earlier
// lines are not needed any more, because the first new line of a directory says From what
// was given to it before. m must stay open until the next Begin or Close. Call it at each
// start, with another epoch, and when the marker was put back. If it fails, nobody uses the
// journal, and Write tries again. System calls:
//
//	fcntl(unlock), 2 x (statx, openat, statx, fchmod, ftruncate), pwrite, fcntl(lock)
func (w *Writer) Begin(m *state.Marker, tree Tree) error { return nil }

// Write writes a batch. **Whether it returns an error or not, the batch may be stamped
// afterwards**: with an error nobody uses the journal until a later Write has begun another
// run. It does so by itself, once a second at most. floor is the highest stamp published
// before the batch; one below that of the batch before begins another run. lines are not
// kept. A batch without lines is not written, and must stamp nothing. Lines may stand in
// any order; several of one directory are allowed. A batch larger than 1 MiB is written as
// one line that says that nothing is known of the whole tree. System calls:
//
//	statx(by name), pwrite, 2 x fcntl; no fsync
func (w *Writer) Write(floor mtree.Stamp, lines []Line) error { return nil }

// Drop says that something is about to be stamped that was not written: nobody uses the
// journal until a later Write, which begins another run. Cost: fcntl.
func (w *Writer) Drop() {}

// Close gives up the lock and closes the files, which stay.
func (w *Writer) Close() error { return nil }
