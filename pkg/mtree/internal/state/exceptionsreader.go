package state

import (
	"fmt"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// ExceptionsReader reads both files of a tree. It reads a file again only after it was
// written. The zero value is ready; it may be used by several goroutines at once.
type ExceptionsReader struct {
	mu    sync.Mutex
	heads [2]string // first lines of stamps and unread; "": there was no file
	have  *Exceptions
}

// Read returns the Exceptions of the tree at root (marker in stateDir if that is not ""), as
// it is after the call. Cost: openat of the marker, and open, fstat, read of each
// file's first line.
func (r *ExceptionsReader) Read(root *disk.Dir, stateDir string) (*Exceptions, error) {
	m, err := OpenMarker(root, stateDir)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return r.read(m)
}

// ReadExceptions reads both files. One that is missing is empty.
func (m *Marker) ReadExceptions() (*Exceptions, error) {
	var r ExceptionsReader
	return r.read(m)
}

func (r *ExceptionsReader) read(m *Marker) (*Exceptions, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := Exceptions{}
	if r.have != nil {
		a = *r.have
	}
	stamps, stampsHead, err := m.readExceptions(stampsName, r.heads[0])
	if err != nil {
		return nil, err
	}
	if stampsHead == "" || stampsHead != r.heads[0] {
		if a.Stamps, err = parseStamps(stamps); err != nil {
			return nil, m.dir.PathError("read", stampsName, err)
		}
	}
	unread, unreadHead, err := m.readExceptions(unreadName, r.heads[1])
	if err != nil {
		return nil, err
	}
	if unreadHead == "" || unreadHead != r.heads[1] {
		a.Unread = parseUnread(unread)
	}
	r.heads, r.have = [2]string{stampsHead, unreadHead}, &a
	return &a, nil
}

func parseStamps(lines []exceptionLine) (map[string]Refusal, error) {
	stamps := make(map[string]Refusal, len(lines))
	for _, line := range lines {
		stamp, err := mtree.ParseStamp(line.first)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errExceptions, err)
		}
		stamps[line.path] = Refusal{line.inode, stamp}
	}
	return stamps, nil
}

func parseUnread(lines []exceptionLine) map[string]Unread {
	unread := make(map[string]Unread, len(lines))
	for _, line := range lines {
		unread[line.path] = Unread{line.inode, line.first == "+"}
	}
	return unread
}
