package notify

import (
	"bytes"
	"errors"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// A file that is opened by its handle (open_by_handle_at(2), the kernel's NFS
// server) while no name of it is cached has no directory: the kernel finds the
// inode and does not ask where it stands. Events of such a file are loose: they
// have its handle, and neither a directory nor a name. Once anybody has looked
// the file up by name the kernel knows that name, and the handle leads to it. An
// audit looks up all there are; so a loose event that leads nowhere is a loss, and
// after the audit the next of the same file is none.
//
// Each change of a file's link count is a loose event, too: of an unlink, a link, a
// rename over a file. These name the directory in an event of their own.

// isLoose reports whether the event is of a file without a directory.
func (e fanEvent) isLoose() bool { return len(e.dir) == 0 && len(e.file) > 0 }

// isLinkCount reports whether the event may be of a link count, and tells nothing
// else but attributes.
func (e fanEvent) isLinkCount() bool { return e.isLoose() && e.mask == unix.FAN_ATTRIB }

// nearby is how many events stand at most between the event of a link count and
// the one that names the reason. The kernel queues the two one after the other;
// events of other processors come between.
const nearby = 32

// links remembers which names came or went in the last events, for the reasons why
// link counts changed.
type links struct {
	named bool // events tell the handle of what came or went: Linux 5.17
	last  [nearby]struct {
		number int // of the event; 0: none
		file   []byte
		pid    int32
		over   bool // a rename, perhaps over a file, which the event does not tell
	}
	next   int
	events int
}

// note remembers an event that names a file that came or went, and reports
// whether it is one.
func (l *links) note(e fanEvent) bool {
	if len(e.file) == 0 || e.mask&unix.FAN_ONDIR != 0 || e.mask&namesMask == 0 {
		return false
	}
	at := &l.last[l.next%nearby]
	at.number, at.file, at.pid, at.over = l.events, append(at.file[:0], e.file...), e.pid, e.mask&unix.FAN_MOVED_TO != 0
	l.next++
	return true
}

// forget is called when all that was queued is taken: what comes is of another
// time.
func (l *links) forget() {
	for i := range l.last {
		l.last[i].number = 0
	}
}

// explain reports whether the event of a link count is told by another as well:
// an unlink and a link by the handle of the file, a rename over it by the process
// that did it. Where handles are not told, all count as explained.
func (l *links) explain(e fanEvent, later []byte) bool {
	if !l.named {
		return true
	}
	for i := range nearby {
		at := &l.last[(l.next+nearby-1-i)%nearby] // the latest first
		if at.number == 0 {
			continue
		}
		if l.events-at.number > nearby {
			break
		}
		if bytes.Equal(at.file, e.file) {
			return true
		}
		if at.over && at.pid == e.pid {
			at.number = 0
			return true
		}
	}
	for range nearby {
		next, size := nextFanEvent(later)
		if size == 0 {
			return false
		}
		if next.mask&namesMask != 0 && bytes.Equal(next.file, e.file) {
			return true
		}
		later = later[size:]
	}
	return false
}

func (t *fanTaking) looseFile(file []byte, mask uint64) {
	if t.loose == nil {
		t.loose = map[string]uint64{}
	}
	t.loose[string(file)] |= mask
}

// maxReasonWait is the last of the pauses, each twice the one before, in which the
// reason of a link count is waited for: who unlinks a file wakes us by the event of
// the count, and may have to wait until we sleep to queue the other.
const maxReasonWait = 64 * time.Millisecond

// findLoose finds out where files are that have no directory. One that cannot be
// found is a loss.
func (t *fanTaking) findLoose() {
	left := t.findFiles()
	for wait := 250 * time.Microsecond; left > 0 && wait <= maxReasonWait; wait *= 2 {
		time.Sleep(wait)
		t.read()
		left = t.findFiles()
	}
	if left > 0 {
		t.loseFile(errNowhere)
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	clear(t.puzzles)
	if t.Drained {
		t.links.forget()
	}
}

// findFiles looks for the loose files, and returns of how many the reason is still
// to come.
func (t *fanTaking) findFiles() int {
	loose := t.loose
	t.loose = nil
	var puzzles []string
	for file, mask := range loose {
		dir, name, err := t.places.file(file)
		switch {
		case err != nil && mask == unix.FAN_ATTRIB:
			puzzles = append(puzzles, file)
		case err != nil:
			t.loseFile(err)
		case name != "":
			t.foundIn(dir).entry([]byte(name), false)
		}
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for _, file := range puzzles {
		t.puzzles[file] = struct{}{}
	}
	return len(t.puzzles)
}

func (t *fanTaking) loseFile(err error) {
	t.Lost = "a file was changed by its handle alone, and cannot be found: " + err.Error()
}

func (t *fanTaking) foundIn(dir string) *gathered {
	h := t.found[dir]
	if h == nil {
		h = new(gathered)
		if t.found == nil {
			t.found = map[string]*gathered{}
		}
		t.found[dir] = h
	}
	return h
}

var errNowhere = errors.New("the kernel knows no name of it")

// file returns where the file is, directory and name; no name: it is gone, or
// outside the tree. System calls:
//
//	open_by_handle_at, fstat, readlink, newfstatat
func (p *places) file(id string) (dir, name string, err error) {
	fd, err := p.openHandle(id, 0)
	if errors.Is(err, unix.ESTALE) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer unix.Close(fd)
	var self, there unix.Stat_t
	if err := unix.Fstat(fd, &self); err != nil || self.Nlink == 0 {
		return "", "", err
	}
	full, err := readlink(fd)
	if err != nil {
		return "", "", err
	}
	dir, name = path.Split(full)
	if name == "" {
		return "", "", errNowhere // "/": the file is its own root
	}
	dir, inside := p.below(path.Clean(dir))
	if !inside {
		return "", "", nil
	}
	err = unix.Fstatat(p.root, path.Join(".", dir, name), &there, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || there.Dev != self.Dev || there.Ino != self.Ino {
		return "", "", errNowhere // "name (deleted)", and it has others
	}
	return dir, name, nil
}
