package links

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// Name is the file in the marker.
const Name = "links"

// log is the file: lines up to size, and pending ones behind them that are not written yet.
type log struct {
	file    sys.File
	head    string
	size    int64
	pending []byte
	anew    bool     // it had no lines of this copy when it was opened
	recent  []placed // lines that were read or added lately, by place: one name is looked up several times
}

// placed is a line and where it begins. At 0 there is the head of the file, so 0 stands for no line.
type placed struct {
	File
	place, before int64
}

// mostRecent is how many lines are kept in memory.
const mostRecent = 1 << 12

// keep keeps a line in memory.
func (l *log) keep(f *File, place, before int64) {
	if l.recent == nil {
		l.recent = make([]placed, mostRecent)
	}
	l.recent[place%mostRecent] = placed{*f, place, before}
}

// load reads the lines and calls each with their places. What follows a line that is damaged, or was cut,
// is dropped, because it may speak of that. A file with another head is emptied.
func (l *log) load(each func(f *File, at int64)) (lines int, err error) {
	in := bufio.NewReaderSize(l.file, mostLine)
	first, err := in.ReadSlice('\n')
	if err != nil && !isTorn(err) {
		return 0, err
	}
	if string(first) != l.head { // guard: TestAnIndexOfAnotherRoot
		l.anew = true
		return 0, l.empty()
	}
	for l.size = int64(len(first)); ; lines++ {
		line, err := in.ReadSlice('\n')
		if err != nil && !isTorn(err) {
			return lines, err
		}
		f, before, ok := parseLine(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil || !ok || before >= l.size { // guard: TestAnIndexThatWasCut
			return lines, l.file.Truncate(l.size)
		}
		each(&f, l.size)
		l.size += int64(len(line))
	}
}

func isTorn(err error) bool { return err == io.EOF || err == bufio.ErrBufferFull }

// empty leaves the head only.
func (l *log) empty() error {
	l.pending, l.size = nil, int64(len(l.head))
	l.recent = nil // guard: TestLinesOfBefore
	err := l.file.Truncate(0)
	if err == nil {
		_, err = l.file.WriteAt([]byte(l.head), 0)
	}
	return err
}

// end returns the place of the next line.
func (l *log) end() int64 { return l.size + int64(len(l.pending)) }

// add appends a line and returns its place.
func (l *log) add(f *File, before int64) (at int64) {
	at = l.end()
	l.pending = appendLine(l.pending, f, before)
	l.keep(f, at, before)
	return at
}

// write writes what is pending, if there is anything. System calls: pwrite.
func (l *log) write() error {
	n, err := l.file.WriteAt(l.pending, l.size)
	if err != nil {
		return err
	}
	l.size += int64(n)
	l.pending = l.pending[:0]
	if cap(l.pending) > mostKept {
		l.pending = nil
	}
	return nil
}

// mostKept is how much memory for pending lines is kept for later ones.
const mostKept = 1 << 20

// shortLine is how much is read of a line at first.
const shortLine = 256

var errLine = errors.New("a line of the index is not where it was written")

// at reads the line at a place. Cost: pread, for a long line two; none if it was read or added lately.
func (l *log) at(place int64) (f File, before int64, err error) {
	if l.recent != nil {
		if is := &l.recent[place%mostRecent]; is.place == place {
			return is.File, is.before, nil
		}
	}
	line, err := l.text(place)
	if err != nil {
		return f, 0, err
	}
	f, before, ok := parseLine(line)
	if !ok || before >= place { // guard (without before): TestLinesThatPointForward
		return f, 0, errLine // somebody else writes to the file
	}
	l.keep(&f, place, before)
	return f, before, nil
}

func (l *log) text(place int64) (string, error) {
	if place >= l.size {
		rest := l.pending[min(place-l.size, int64(len(l.pending))):]
		line, _, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return "", errLine
		}
		return string(line), nil
	}
	for _, size := range []int{shortLine, mostLine} {
		buf := make([]byte, size)
		n, err := l.file.ReadAt(buf, place)
		if err != nil && err != io.EOF {
			return "", err
		}
		if line, _, ok := bytes.Cut(buf[:n], []byte("\n")); ok {
			return string(line), nil
		}
	}
	return "", errLine
}

// openLog opens the file of a marker.
func openLog(m *state.Marker, name, head string) (*log, error) {
	file, err := m.OpenOwn(name, true)
	if err != nil {
		return nil, err
	}
	return &log{file: file, head: head}, nil
}
