package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

const (
	stampsName    = "stamps"
	unreadName    = "unread"
	maxExceptions = 4*MaxExceptionBytes + 64*MaxStamps // bytes of one file: an escaped byte takes three
)

// exceptionLine is a line of one of the files: first is a stamp, "-" or "+".
type exceptionLine struct {
	first string
	inode uint64
	path  string
}

// WriteStamps replaces the file stamps: a reader sees the old or the new one, with
// durable also after a power cut. number must be a new one each time. System calls:
//
//	openat(".stamps.new", O_CREAT|O_TRUNC), fchmod, write, renameat; durable: see WriteFile
func (m *Marker) WriteStamps(stamps map[string]Refusal, number int64, durable bool) error {
	text := exceptionsHead(stampsName, number)
	for _, path := range slices.Sorted(maps.Keys(stamps)) {
		text = appendException(text, stamps[path].Stamp.String(), stamps[path].Inode, path)
	}
	return m.writeExceptions(stampsName, exceptionsEnd(text, len(stamps)), durable)
}

// WriteUnread is WriteStamps for the file unread.
func (m *Marker) WriteUnread(unread map[string]Unread, number int64, durable bool) error {
	text := exceptionsHead(unreadName, number)
	for _, path := range slices.Sorted(maps.Keys(unread)) {
		sign := "-"
		if unread[path].Opened {
			sign = "+"
		}
		text = appendException(text, sign, unread[path].Inode, path)
	}
	return m.writeExceptions(unreadName, exceptionsEnd(text, len(unread)), durable)
}

func exceptionsHead(name string, number int64) []byte {
	return fmt.Appendf(nil, "tidemark %s %d\n", name, number)
}

func appendException(dst []byte, first string, inode uint64, path string) []byte {
	dst = append(append(dst, first...), '\t')
	dst = append(strconv.AppendUint(dst, inode, 10), '\t')
	return append(mtree.AppendEscaped(dst, path), '\n')
}

func exceptionsEnd(dst []byte, lines int) []byte { return fmt.Appendf(dst, "#end %d\n", lines) }

// writeExceptions replaces one file.
func (m *Marker) writeExceptions(name string, text []byte, durable bool) error {
	if durable {
		return WriteFile(m.dir, name, text)
	}
	temp := "." + name + ".new"
	fd, err := disk.OpenAt(m.dir.FD(), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return m.dir.PathError("create", temp, err)
	}
	f := sys.NewFile(uintptr(fd), m.dir.Path()+"/"+temp)
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := sys.Renameat(m.dir.FD(), temp, m.dir.FD(), name); err != nil {
		return m.dir.PathError("rename", name, err)
	}
	return nil
}

// HasExceptions reports whether both files are there, and were written with number.
func (m *Marker) HasExceptions(number int64) bool {
	for _, name := range []string{stampsName, unreadName} {
		head := exceptionsHead(name, number)
		if text, _ := m.readHead(name, len(head)); !bytes.Equal(text, head) {
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

// errExceptions says that watch has not written a file.
var errExceptions = errors.New("not written by watch, or damaged: delete it, and send watch SIGHUP")

// readExceptions reads one file. It returns its lines and its first line, which is "" if
// there is no file; only the first line if that is head.
func (m *Marker) readExceptions(name, head string) (lines []exceptionLine, first string, err error) {
	f, _, err := m.dir.OpenFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	const firstLine = 64 // bytes, at most
	text, err := io.ReadAll(io.LimitReader(f, firstLine))
	if err != nil {
		return nil, "", err
	}
	first, _, _ = strings.Cut(string(text), "\n")
	if head != "" && first == head {
		return nil, first, nil
	}
	rest, err := io.ReadAll(io.LimitReader(f, maxExceptions))
	if err != nil {
		return nil, "", err
	}
	lines, err = parseExceptions(name, string(append(text, rest...)))
	return lines, first, m.dir.PathError("read", name, err)
}

func parseExceptions(name, text string) ([]exceptionLine, error) {
	lines := strings.Split(text, "\n")
	n := len(lines) - 3 // the first line, the end, and nothing after that
	if n < 0 || !strings.HasPrefix(lines[0], "tidemark "+name+" ") || lines[n+1] != fmt.Sprintf("#end %d", n) || lines[n+2] != "" {
		return nil, errExceptions
	}
	all := make([]exceptionLine, 0, n)
	for _, line := range lines[1 : n+1] {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return nil, errExceptions
		}
		inode, err1 := strconv.ParseUint(fields[1], 10, 64)
		path, err2 := mtree.UnescapeName(fields[2])
		if err := errors.Join(err1, err2, mtree.CheckPath(path)); err != nil {
			return nil, fmt.Errorf("%w: %w", errExceptions, err)
		}
		all = append(all, exceptionLine{fields[0], inode, path})
	}
	return all, nil
}
