package state

import (
	"fmt"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// ApartReader reads both files of a tree, each again only after it was written. The
// zero value is ready; it may be used by several goroutines at once.
type ApartReader struct {
	mu    sync.Mutex
	heads [2]string // first lines of stamps and unread; "": there was no file
	apart *Apart
}

// Read returns the Apart of the tree at root (marker in stateDir if that is not ""), as
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

// ReadApart reads both files. One that is missing is empty.
func (m *Marker) ReadApart() (*Apart, error) {
	var r ApartReader
	return r.read(m)
}

func (r *ApartReader) read(m *Marker) (*Apart, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := Apart{}
	if r.apart != nil {
		a = *r.apart
	}
	stamps, stampsHead, err := m.readApart(stampsName, r.heads[0])
	if err != nil {
		return nil, err
	}
	if stampsHead == "" || stampsHead != r.heads[0] {
		if a.Stamps, err = parseStamps(stamps); err != nil {
			return nil, m.dir.PathError("read", stampsName, err)
		}
	}
	unread, unreadHead, err := m.readApart(unreadName, r.heads[1])
	if err != nil {
		return nil, err
	}
	if unreadHead == "" || unreadHead != r.heads[1] {
		a.Unread = parseUnread(unread)
	}
	r.heads, r.apart = [2]string{stampsHead, unreadHead}, &a
	return &a, nil
}

func parseStamps(lines []apartLine) (map[string]ApartStamp, error) {
	stamps := make(map[string]ApartStamp, len(lines))
	for _, line := range lines {
		stamp, err := mtree.ParseStamp(line.first)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errApart, err)
		}
		stamps[line.path] = ApartStamp{line.inode, stamp}
	}
	return stamps, nil
}

func parseUnread(lines []apartLine) map[string]ApartUnread {
	unread := make(map[string]ApartUnread, len(lines))
	for _, line := range lines {
		unread[line.path] = ApartUnread{line.inode, line.first == "+"}
	}
	return unread
}
