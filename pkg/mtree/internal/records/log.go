package records

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// LogName is the file of the log in the marker.
const LogName = "records"

// Log holds the records of all directories of a copy where the file system keeps no
// user extended attributes. It is a text file in the marker, to which lines
// "STAMP NOW ID PATH" are appended, or "STAMP NOW ID EXCLUDED/FINGERPRINT PATH". The
// path is escaped and begins with "./", the root being "./". The last line of a path
// counts. A line that a crash cut off is dropped when the log is opened. All records
// are in memory, about 200 bytes each. It may be used by several goroutines at once.
//
// A power cut may take the last lines, and leave what was done after they were written. So
// a line "stay N" says in which stay of the disk none is missing.
type Log struct {
	mu      sys.Mutex
	file    sys.File
	records map[string]Record
	stay    string
	size    int64 // of the file, as far as it was read and written
}

// OpenLog reads the log of a copy and opens it for appending. If it is damaged, or most
// of it is out of date, it is replaced by one with the present records, durably.
func OpenLog(m *state.Marker) (*Log, error) {
	l := &Log{records: map[string]Record{}}
	shared := false // the file has other names, under which it must keep its contents
	if info, err := m.Dir().Stat(LogName); err == nil {
		shared = info.Links > 1
	}
	var err error
	if l.file, err = m.OpenOwn(LogName, false); err != nil {
		return nil, err
	}
	var lines int
	var torn bool
	if _, err = sys.FcntlInt(l.file.Fd(), unix.F_SETFL, unix.O_APPEND); err == nil {
		lines, torn, err = l.load()
	}
	if err == nil && (torn || shared || lines > 2*len(l.records)+1000) {
		err = l.rewrite(m)
	}
	if err != nil {
		_ = l.file.Close()
		return nil, err
	}
	return l, nil
}

// ReadLog reads the log and changes nothing. Without a file the log is empty.
func ReadLog(m *state.Marker) (*Log, error) {
	l := &Log{records: map[string]Record{}}
	f, _, err := m.OpenFile(LogName)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.file = f
	_, _, err = l.load()
	return l, err
}

// maxRecordLine is the greatest length of a line, in bytes: a path has at most PATH_MAX
// bytes, and three times as many when it is escaped.
const maxRecordLine = 16 << 10

// load reads the lines. torn says that the last one has no end, or that one is too long.
func (l *Log) load() (lines int, torn bool, err error) {
	in := bufio.NewReaderSize(l.file, maxRecordLine)
	for long := false; ; {
		line, err := in.ReadSlice('\n')
		l.size += int64(len(line))
		switch {
		case err == io.EOF:
			return lines, torn || len(line) > 0, nil
		case err == bufio.ErrBufferFull:
			torn, long = true, true
			continue
		case err != nil:
			return lines, false, err
		}
		lines++
		if stay, ok := bytes.CutPrefix(line, []byte(stayWord)); ok && !long {
			l.stay = string(bytes.TrimSuffix(stay, []byte("\n")))
		} else if path, r, ok := parseRecordLine(string(line[:len(line)-1])); ok && !long {
			l.records[path] = r
		}
		long = false
	}
}

// rewrite replaces the log by one with the present records. System calls: see
// state.WriteFile, then openat.
func (l *Log) rewrite(m *state.Marker) error {
	var out []byte
	if l.stay != "" {
		out = append(out, stayLine(l.stay)...)
	}
	for path, r := range l.records {
		out = append(out, recordLine(path, r)...)
	}
	if err := state.WriteFile(m.Dir(), LogName, out); err != nil {
		return err
	}
	fd, err := disk.OpenAt(m.Dir().FD(), LogName, unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return m.Dir().PathError("open", LogName, err)
	}
	_ = l.file.Close()
	l.file, l.size = sys.NewFile(uintptr(fd), m.Dir().Path()+"/"+LogName), int64(len(out))
	return nil
}

// Mend replaces the log by one with the present records if it was removed, replaced or cut, or
// if a full disk left a line without its end. Cost: fstat, statx.
func (l *Log) Mend(m *state.Marker) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, err := disk.StatFile(l.file)
	if err != nil {
		return err
	}
	there, err := m.Dir().Stat(LogName)
	switch {
	case disk.IsUnsure(err):
		return err
	case err == nil && own.Node == there.Node && own.Size == l.size:
		return nil
	}
	return l.rewrite(m)
}

// stayWord begins a line that says in which stay no line is missing.
const stayWord = "stay "

func stayLine(stay string) string { return stayWord + stay + "\n" }

func recordLine(path string, r Record) string {
	return r.String() + " " + mtree.EscapeName(mtree.JoinPath(".", path)) + "\n"
}

func parseRecordLine(line string) (path string, r Record, ok bool) {
	cut := strings.LastIndexByte(line, ' ')
	if cut < 0 {
		return "", Record{}, false
	}
	r, ok = parse(line[:cut])
	escaped, below := strings.CutPrefix(line[cut+1:], "./")
	path, err := mtree.UnescapeName(escaped)
	return path, r, ok && below && err == nil && mtree.CheckPath(path) == nil
}

// Get returns the record of the directory at path, "" for the root.
func (l *Log) Get(path string) (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[path]
	return r, ok
}

// Set appends a record with one write. The next disk.Dir.Flush makes it durable.
func (l *Log) Set(path string, r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.records[path]; ok && old == r {
		return nil
	}
	if err := l.append(recordLine(path, r)); err != nil {
		return err
	}
	l.records[path] = r
	return nil
}

// append writes a line.
func (l *Log) append(line string) error {
	n, err := l.file.WriteString(line)
	if err == nil {
		l.size += int64(n)
	}
	return err
}

// Stay returns the stay of the disk in which no line is missing, "" if it is not known.
func (l *Log) Stay() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stay
}

// SetStay says in which stay of the disk no line is missing. It is a word without blanks.
func (l *Log) SetStay(stay string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stay == stay {
		return nil
	}
	if err := l.append(stayLine(stay)); err != nil {
		return err
	}
	l.stay = stay
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
