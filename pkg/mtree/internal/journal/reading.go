package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Why a journal proves nothing.
var (
	errNobody = errors.New("nobody writes it, or it is not whole")
	errOthers = errors.New("it is of another tree, epoch or boot")
	errLarge  = errors.New("a file is too large")
)

// chunk is how many bytes are read at once.
const chunk = 64 << 10

// reading is one look at both files.
type reading struct {
	files [2]sys.File // nil: there is none
	heads [2]Head     // empty: there is none
	begin [2]int64    // the offset of the first batch

	announced uint64 // the last batch that was announced before the files were read
}

// readOnce reads what is new, in the order that proves it: the tail, then the lock, then the
// heads. It gives ErrAgain if the journal went on meanwhile.
func (f *Follower) readOnce(m *state.Marker, tree Tree) error {
	r, err := openBoth(m)
	if err != nil {
		return err
	}
	defer r.close()
	now, announced, err := r.locked() // which file is which, and what must be in it
	if err != nil {
		return err
	}
	r.announced = announced
	head := r.heads[now]
	if head.Tree != tree || // guard: TestJournalOfOthers
		head.Boot != f.boot || // guard: TestJournalOfOthers
		f.boot == "" {
		return errOthers
	}
	if err := f.takeBoth(r, now); err != nil {
		return err
	}
	return f.prove(r, now)
}

// prove reports whether the index has everything that was written before the reading: the
// lock tells which batch was the last. It is asked for after the tail was read, and the heads
// after that: a file that was emptied meanwhile has another one. A batch that is not in it, and was
// announced at the last reading, is damaged: nothing before it is in the index any more.
func (f *Follower) prove(r *reading, now int) error {
	at, number, err := r.locked()
	if err != nil { // guard: TestLockThatIsGivenUpMeanwhile
		return err
	}
	for i := range r.files {
		head, _, err := r.readHead(i)
		if err != nil {
			return err
		}
		if head != r.heads[i] { // guard: TestEmptiedWhileItIsRead
			return ErrAgain
		}
	}
	run, last := f.index.isAt()
	if r.announced > last && f.missing == r.announced { // guard (without f.missing): TestMissingOnce
		f.index.reset(run, r.announced) // it was written before its file was opened, and will not come: a gap
		last = r.announced
	}
	f.missing = max(r.announced, number)
	if at != now || // guard (without at != now): TestLockThatMovesMeanwhile
		number > last || // guard: TestMissingOnce
		number+1 < last { // guard: TestLockThatMovesMeanwhile
		return ErrAgain // a batch is announced after it was written, and before the next one is
	}
	return nil
}

// takeBoth takes what is new of both files, where now is the one that is appended to.
func (f *Follower) takeBoth(r *reading, now int) error {
	head, old := r.heads[now], 1-now
	before := r.heads[old]
	has := before.Tree == head.Tree && before.Boot == head.Boot && before.Run == head.Run && before.Number < head.Number
	run, last := f.index.isAt()
	if run != head.Run { // guard: TestAnotherRun
		first := head
		if has {
			first = before
		}
		last = first.Number - 1
		f.index.reset(head.Run, last)
	}
	if has && last+1 < head.Number {
		if err := f.take(r, old); err != nil {
			return err
		}
	}
	return f.take(r, now)
}

// take takes what is new of one file.
func (f *Follower) take(r *reading, i int) error {
	p := &f.files[i]
	if p.head != r.heads[i] {
		*p = progress{r.heads[i], r.begin[i]}
	}
	text := f.buf[:0]
	for {
		text = slices.Grow(text, chunk)
		room := text[len(text):cap(text)]
		n, err := sys.Pread(int(r.files[i].Fd()), room, p.offset+int64(len(text)))
		if err != nil {
			return err
		}
		text = text[:len(text)+n]
		used := f.takeText(text)
		p.offset += int64(used)
		text = append(text[:0], text[used:]...)
		if n < len(room) {
			break
		}
	}
	if f.buf = text; cap(text) > 16*chunk {
		f.buf = nil
	}
	return nil
}

// takeText adds the batches in text, and returns how much of it need not be read again. What
// is damaged is left out if a batch is behind it: that one does not follow the last then.
func (f *Follower) takeText(text []byte) (used int) {
	for used < len(text) {
		b, length, err := ParseBatch(text[used:])
		switch {
		case err == nil:
			f.index.add(b, length)
			used += length
			continue
		case err == errCut:
			return used
		}
		next := bytes.Index(text[used:], []byte("\n+"))
		if next < 0 {
			if len(text)-used > 2*maxBatch { // there is no batch of ours in it
				used = len(text) - 1
			}
			return used
		}
		used += next + 1
	}
	return used
}

// openBoth opens both files by name.
func openBoth(m *state.Marker) (r *reading, err error) {
	r = &reading{}
	for i, name := range names {
		f, info, err := m.OpenFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			r.files[i] = f
			r.heads[i], r.begin[i], err = r.readHead(i)
		}
		if err == nil && info.Size > 2*maxFile { // guard: TestLargeFiles
			err = errLarge
		}
		if err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *reading) close() {
	for _, f := range r.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// readHead returns the head of a file, an empty one if it has none, and its length.
func (r *reading) readHead(i int) (Head, int64, error) {
	if r.files[i] == nil {
		return Head{}, 0, nil
	}
	var text [maxHead]byte
	n, err := sys.Pread(int(r.files[i].Fd()), text[:], 0)
	if err != nil {
		return Head{}, 0, err
	}
	h, length, err := ParseHead(text[:n])
	if err != nil {
		return Head{}, 0, nil // one that is being written is none yet
	}
	return h, int64(length), nil
}

// locked returns which file is appended to, and the number of the last batch that was
// announced there.
func (r *reading) locked() (i int, number uint64, err error) {
	for _, i := range [...]int{0, 1, 0} { // it may move from the one to the other meanwhile
		if r.files[i] == nil {
			continue
		}
		n, ok, err := state.LockedOffset(int(r.files[i].Fd()))
		if err != nil || ok {
			return i, uint64(n), err
		}
	}
	return 0, 0, errNobody
}
