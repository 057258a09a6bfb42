package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// retryAfter is how long a Writer that failed leaves the disk alone.
const retryAfter = time.Second

// errNoBoot is returned where the machine does not tell which boot this is.
var errNoBoot = errors.New("the boot id is not known")

// errDropped is why there are no files after Drop.
var errDropped = errors.New("something was stamped that is not in the journal")

// Writer writes the journal of a tree. It belongs to one goroutine, that of the holder of
// the tree's lock. Before Begin it writes nothing: Write returns nil. The methods may be
// called on nil, and then do nothing.
type Writer struct {
	marker *state.Marker
	head   Head
	number uint64 // of the last batch, written or not

	files [2]*file // both or none
	now   int      // the one that is appended to
	floor mtree.Stamp

	failed error         // why there are no files; nil: they are there, or Begin was not called
	tried  time.Duration // machine.Uptime of the last failure
	buf    []byte
}

// Begin begins a new run, with a random RUN, in the files of m: both are emptied. Earlier
// lines are not needed any more, because the first new line of a directory says From what
// was given to it before. m must stay open until the next Begin or Close. Call it at each
// start, with another epoch, and when the marker was put back. If it fails, nobody uses the
// journal, and Write tries again. System calls:
//
//	fcntl(unlock), 2 x (statx, openat, 2 statx, fchmod, ftruncate), pwrite, fcntl(lock)
func (w *Writer) Begin(m *state.Marker, tree Tree) error {
	if w == nil {
		return nil
	}
	w.withdraw()
	w.marker, w.head = m, Head{Tree: tree}
	return w.begin(w.number + 1)
}

// begin begins a new run whose first batch has this number.
func (w *Writer) begin(number uint64) error {
	w.withdraw()
	if err := w.open(number); err != nil {
		return w.fail(err)
	}
	w.failed = nil
	return nil
}

// open makes new files. The lock comes last, when nothing of an earlier run is left.
func (w *Writer) open(number uint64) (err error) {
	w.head.Boot, w.head.Run, w.head.Number = machine.BootID(), newRun(), number
	if w.head.Boot == "" { // guard: TestWriterWithoutABoot
		return errNoBoot
	}
	for i, name := range names {
		if w.files[i], err = openEmpty(w.marker, name); err != nil {
			return err
		}
	}
	w.now, w.floor = 0, mtree.MinStamp
	if err = w.files[0].append(AppendHead(w.buf[:0], w.head)); err != nil {
		return err
	}
	return w.files[0].announce(number - 1)
}

func newRun() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}

// Write writes a batch. **Whether it returns an error or not, the batch may be stamped
// afterwards**: with an error nobody uses the journal until a later Write has begun another
// run. It does so by itself, once a second at most. floor is the highest stamp published
// before the batch; one below that of the batch before begins another run. lines are not
// kept. A batch without lines is not written, and must stamp nothing. Lines may stand in
// any order; several of one directory are allowed. A batch larger than 1 MiB is written as
// one line that says that nothing is known of the whole tree. System calls:
//
//	statx(by name), pwrite, 2 x fcntl; no fsync
func (w *Writer) Write(floor mtree.Stamp, lines []Line) error {
	if w == nil || w.marker == nil || len(lines) == 0 {
		return nil
	}
	w.number++
	if w.failed != nil && machine.Uptime()-w.tried < retryAfter {
		return w.failed
	}
	if w.failed != nil ||
		floor.Before(w.floor) || // guard: TestFloorGoesBack
		!w.files[w.now].isAt(w.marker, names[w.now]) { // guard: TestFilesThatAreReplaced
		if err := w.begin(w.number); err != nil {
			return err
		}
	}
	w.floor = floor
	if err := w.append(Batch{Number: w.number, Floor: floor, Lines: lines}); err != nil {
		return w.fail(err)
	}
	return nil
}

// append writes a batch into the file whose turn it is, and announces it there.
func (w *Writer) append(b Batch) error {
	was := w.files[w.now]
	w.buf = w.buf[:0]
	if was.size >= maxFile {
		if err := w.turn(b.Number); err != nil {
			return err
		}
		w.buf = AppendHead(w.buf, w.head)
	}
	w.buf = AppendBatch(w.buf, b)
	now := w.files[w.now]
	if err := now.append(w.buf); err != nil {
		return err
	}
	if err := now.announce(b.Number); err != nil {
		return err
	}
	if was != now {
		return state.UnlockOffsets(int(was.Fd()))
	}
	return state.UnlockOffset(int(was.Fd()), int64(b.Number-1))
}

// turn empties the other file, which is appended to from now on.
func (w *Writer) turn(number uint64) error {
	next := 1 - w.now
	if f := w.files[next]; f.isAt(w.marker, names[next]) {
		if err := f.Truncate(0); err != nil {
			return err
		}
		f.size = 0
	} else {
		made, err := openEmpty(w.marker, names[next])
		if err != nil {
			return err
		}
		f.withdraw()
		w.files[next] = made
	}
	w.now, w.head.Number = next, number
	return nil
}

// Drop says that something is about to be stamped that was not written: nobody uses the
// journal until the next Write, which begins another run. Cost: fcntl, close.
func (w *Writer) Drop() {
	if w != nil && w.failed == nil && w.marker != nil {
		w.number++
		_ = w.fail(errDropped)
		w.tried = -retryAfter // nothing is wrong with the disk
	}
}

// fail gives up the run before anything is stamped. Its last number is missing for those
// who read it, but they could not see that: so the lock goes.
func (w *Writer) fail(err error) error {
	w.withdraw()
	w.failed, w.tried = err, machine.Uptime()
	return err
}

// withdraw gives up the lock and closes the files.
func (w *Writer) withdraw() {
	for i, f := range w.files {
		if f != nil {
			f.withdraw()
			w.files[i] = nil
		}
	}
}

// Close gives up the lock and closes the files, which stay.
func (w *Writer) Close() error {
	if w != nil {
		w.withdraw()
		w.marker = nil
	}
	return nil
}
