package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Apart is what watch tells of directories apart from their times: the files
// .tidemark/stamps and .tidemark/unread, of at most MaxStamps and MaxUnread lines.
//
//	tidemark stamps NUMBER
//	STAMP<TAB>INODE<TAB>PATH
//	#end 1
//
//	tidemark unread NUMBER
//	-<TAB>INODE<TAB>PATH
//	#end 1
//
// NUMBER is another one with each writing, PATH is escaped as in listings. A line
// counts for the directory at PATH only if it has this inode. In unread, a + says
// that the directory is read again but what is above it has no new stamp yet: for
// readers it is none of them, a watch that starts takes it for one.
//
// Both files are written before what is above those directories is stamped. A nil
// Apart holds nothing.
type Apart struct {
	Stamps map[string]ApartStamp  // by path: of directories that refuse their time
	Unread map[string]ApartUnread // by path: those that watch may not read
}

// ApartStamp is the stamp of a directory that does not show it.
type ApartStamp struct {
	Inode uint64
	Stamp mtree.Stamp
}

// ApartUnread is a directory that is not published.
type ApartUnread struct {
	Inode  uint64
	Opened bool // it is read again
}

// Bounds of the two files: lines, and bytes of the paths in one of them.
const (
	MaxStamps     = 10_000
	MaxUnread     = 1_000
	MaxApartBytes = 4 << 20
)

const (
	stampsName = "stamps"
	unreadName = "unread"
	maxApart   = 4*MaxApartBytes + 64*MaxStamps // bytes of one file: an escaped byte takes three
)

// ErrUnread says that watch may not read a directory or one above it, so that
// nobody vouches for what is in it.
var ErrUnread = fmt.Errorf("watch may not read it: %w", unix.EACCES)

// StampOf returns the stamp of the directory at path with this inode, if it has one
// here.
func (a *Apart) StampOf(path string, inode uint64) (mtree.Stamp, bool) {
	if a == nil {
		return mtree.Stamp{}, false
	}
	have, ok := a.Stamps[path]
	return have.Stamp, ok && have.Inode == inode
}

// Refuses reports whether the directory at path has its stamp here.
func (a *Apart) Refuses(path string) bool {
	if a == nil {
		return false
	}
	_, ok := a.Stamps[path]
	return ok
}

// Vouched returns ErrUnread if the directory at path below root is, or lies in, one
// that watch may not read. Cost: nothing unless one of that name is known, then
// StatPath.
func (a *Apart) Vouched(root *disk.Dir, path string) error {
	if a == nil || len(a.Unread) == 0 {
		return nil
	}
	for end := range len(path) + 1 {
		if end < len(path) && path[end] != '/' {
			continue
		}
		have, ok := a.Unread[path[:end]]
		if !ok || have.Opened {
			continue
		}
		info, err := root.StatPath(path[:end], true)
		if err != nil && !disk.IsGone(err) || err == nil && info.Node.Ino == have.Inode {
			return root.PathError("open", path, ErrUnread)
		}
	}
	return nil
}

// ReadApart reads both files. One that is missing holds nothing.
func (m *Marker) ReadApart() (*Apart, error) {
	var r ApartReader
	return r.read(m)
}

// WriteStamps replaces the file stamps, so that a reader sees the old or the new
// one; durable says that this holds after a power cut, too. Number must be another
// one each time.
func (m *Marker) WriteStamps(stamps map[string]ApartStamp, number int64, durable bool) error {
	text := apartHead(stampsName, number)
	for _, path := range slices.Sorted(maps.Keys(stamps)) {
		text = apartLine(text, stamps[path].Stamp.String(), stamps[path].Inode, path)
	}
	return m.writeApart(stampsName, apartEnd(text, len(stamps)), durable)
}

// WriteUnread is WriteStamps for the file unread.
func (m *Marker) WriteUnread(unread map[string]ApartUnread, number int64, durable bool) error {
	text := apartHead(unreadName, number)
	for _, path := range slices.Sorted(maps.Keys(unread)) {
		sign := "-"
		if unread[path].Opened {
			sign = "+"
		}
		text = apartLine(text, sign, unread[path].Inode, path)
	}
	return m.writeApart(unreadName, apartEnd(text, len(unread)), durable)
}

func apartHead(name string, number int64) []byte {
	return fmt.Appendf(nil, "tidemark %s %d\n", name, number)
}

func apartLine(dst []byte, first string, inode uint64, path string) []byte {
	dst = append(append(dst, first...), '\t')
	dst = append(strconv.AppendUint(dst, inode, 10), '\t')
	return append(mtree.AppendEscaped(dst, path), '\n')
}

func apartEnd(dst []byte, lines int) []byte { return fmt.Appendf(dst, "#end %d\n", lines) }

// writeApart replaces one file. System calls, fsync only if durable:
//
//	openat(".NAME.new", O_CREAT|O_TRUNC), fchmod, write, renameat
func (m *Marker) writeApart(name string, text []byte, durable bool) error {
	if durable {
		return WriteFile(m.dir, name, text)
	}
	temp := "." + name + ".new"
	fd, err := disk.OpenAt(m.dir.FD(), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return m.dir.PathError("create", temp, err)
	}
	f := os.NewFile(uintptr(fd), m.dir.Path()+"/"+temp)
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := unix.Renameat(m.dir.FD(), temp, m.dir.FD(), name); err != nil {
		return m.dir.PathError("rename", name, err)
	}
	return nil
}

// HasApart reports whether both files are there as they were written with number.
func (m *Marker) HasApart(number int64) bool {
	for _, name := range []string{stampsName, unreadName} {
		head := apartHead(name, number)
		if text, err := m.readHead(name, len(head)); err != nil || !bytes.Equal(text, head) {
			return false
		}
	}
	return true
}

func (m *Marker) readHead(name string, size int) ([]byte, error) {
	f, _, err := m.dir.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(size)))
}

// ApartReader reads both files again only after one of them was written. The zero
// value is ready; it may be used by several goroutines at once.
type ApartReader struct {
	mu    sync.Mutex
	heads [2]string
	apart *Apart
}

// Read returns what the tree at root (marker in stateDir if not "") holds apart, as
// it is after the call. Cost: openat of the marker, and open, fstat, read of each
// file's first line.
func (r *ApartReader) Read(root *disk.Dir, stateDir string) (*Apart, error) {
	m, err := OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return r.read(m)
}

func (r *ApartReader) read(m *Marker) (*Apart, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := Apart{}
	if r.apart != nil {
		a = *r.apart
	}
	heads := r.heads
	err := m.eachApart(stampsName, &heads[0], func(lines int) func(string, uint64, string) error {
		a.Stamps = make(map[string]ApartStamp, lines)
		return func(first string, inode uint64, path string) error {
			stamp, err := mtree.ParseStamp(first)
			a.Stamps[path] = ApartStamp{inode, stamp}
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	err = m.eachApart(unreadName, &heads[1], func(lines int) func(string, uint64, string) error {
		a.Unread = make(map[string]ApartUnread, lines)
		return func(first string, inode uint64, path string) error {
			a.Unread[path] = ApartUnread{inode, first == "+"}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	r.heads, r.apart = heads, &a
	return &a, nil
}

// errApart says that a file is not one that watch wrote.
var errApart = errors.New("not written by watch, or damaged: delete it, and send watch SIGHUP")

// eachApart reads one file and calls what begin returns for every line, unless its
// first line is head.
func (m *Marker) eachApart(name string, head *string, begin func(lines int) func(first string, inode uint64, path string) error) error {
	f, _, err := m.dir.OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		begin(0)
		*head = ""
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	const some = 64 // bytes: more than a first line
	text, err := io.ReadAll(io.LimitReader(f, some))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if *head != "" && first == *head {
		return nil
	}
	rest, err := io.ReadAll(io.LimitReader(f, maxApart))
	if err != nil {
		return err
	}
	*head = first
	if err := parseApart(name, string(append(text, rest...)), begin); err != nil {
		return m.dir.PathError("read", name, err)
	}
	return nil
}

func parseApart(name, text string, begin func(lines int) func(first string, inode uint64, path string) error) error {
	lines := strings.Split(text, "\n")
	n := len(lines) - 3 // the first, the end, and nothing behind it
	if n < 0 || !strings.HasPrefix(lines[0], "tidemark "+name+" ") || lines[n+1] != fmt.Sprintf("#end %d", n) || lines[n+2] != "" {
		return errApart
	}
	each := begin(n)
	for _, line := range lines[1 : n+1] {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return errApart
		}
		inode, err1 := strconv.ParseUint(fields[1], 10, 64)
		path, err2 := mtree.UnescapeName(fields[2])
		if err := errors.Join(err1, err2, mtree.CheckPath(path)); err != nil {
			return fmt.Errorf("%w: %w", errApart, err)
		}
		if err := each(fields[0], inode, path); err != nil {
			return fmt.Errorf("%w: %w", errApart, err)
		}
	}
	return nil
}
