package disk

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

const recordLogName = "records"

// RecordLog holds the records of a copy's directories where the file system
// keeps no user extended attributes: a text file in the marker to which lines
// "STAMP NOW ID PATH" are appended, the path escaped, "./" being the root; the
// last line of a path counts. What a crash cut off is dropped when it is
// opened. All records are in memory, about 200 bytes each. It may be used by
// several goroutines at once.
type RecordLog struct {
	mu      sync.Mutex
	file    *os.File
	records map[string]Record
}

// OpenRecordLog reads the log, rewrites it without what is out of date, and
// opens it for appending.
func (m *Marker) OpenRecordLog() (*RecordLog, error) {
	l := &RecordLog{records: map[string]Record{}}
	shared := false // with other names: see vacate
	if info, err := m.dir.Stat(recordLogName); err == nil {
		shared = info.Links > 1
	}
	fd, err := m.dir.openOwn(recordLogName, false)
	if err != nil {
		return nil, err
	}
	l.file = os.NewFile(uintptr(fd), m.dir.path+"/"+recordLogName)
	var lines int
	var torn bool
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err == nil {
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

// ReadRecordLog reads the log and leaves it alone.
func (m *Marker) ReadRecordLog() (*RecordLog, error) {
	l := &RecordLog{records: map[string]Record{}}
	f, _, err := m.OpenFile(recordLogName)
	if isNotExist(err) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.file = f
	_, _, err = l.load()
	return l, err
}

// maxRecordLine bounds a line of the log, in bytes: no path has more than PATH_MAX,
// nor three times that when it is escaped.
const maxRecordLine = 16 << 10

// load reads the lines; torn says that the last one has no end, or that one is
// longer than any of ours.
func (l *RecordLog) load() (lines int, torn bool, err error) {
	in := bufio.NewReaderSize(l.file, maxRecordLine)
	for long := false; ; {
		line, err := in.ReadSlice('\n')
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
		if path, r, ok := parseRecordLine(string(line[:len(line)-1])); ok && !long {
			l.records[path] = r
		}
		long = false
	}
}

// rewrite replaces the log by one without what is out of date.
func (l *RecordLog) rewrite(m *Marker) error {
	var out []byte
	for path, r := range l.records {
		out = append(out, recordLine(path, r)...)
	}
	if err := m.dir.WriteSmall(recordLogName, out); err != nil {
		return err
	}
	fd, err := openat(m.dir.fd, recordLogName, unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return m.dir.fail("open", recordLogName, err)
	}
	_ = l.file.Close()
	l.file = os.NewFile(uintptr(fd), m.dir.path+"/"+recordLogName)
	return nil
}

func recordLine(path string, r Record) string {
	return r.String() + " " + mtree.EscapeName(mtree.JoinPath(".", path)) + "\n"
}

func parseRecordLine(line string) (path string, r Record, ok bool) {
	cut := strings.LastIndexByte(line, ' ')
	if cut < 0 {
		return "", Record{}, false
	}
	r, ok = ParseRecord(line[:cut])
	escaped, below := strings.CutPrefix(line[cut+1:], "./")
	path, err := mtree.UnescapeName(escaped)
	return path, r, ok && below && err == nil && mtree.CheckPath(path) == nil
}

// Get returns the record of the directory at path, "" being the root.
func (l *RecordLog) Get(path string) (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[path]
	return r, ok
}

// Set appends a record. It is made durable by the next flush of the file
// system.
func (l *RecordLog) Set(path string, r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.records[path]; ok && old == r {
		return nil
	}
	if _, err := l.file.WriteString(recordLine(path, r)); err != nil {
		return err
	}
	l.records[path] = r
	return nil
}

// Close closes the file.
func (l *RecordLog) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
