package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
)

const (
	// treeMask is what is heard of each directory. IN_MODIFY besides
	// IN_CLOSE_WRITE because log files stay open for days; IN_ATTRIB is also
	// how a time set on a directory by somebody else is heard.
	treeMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
		unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK
	// rootMask tells the root's own fate, which no parent's event does.
	rootMask = treeMask | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// markerMask leaves out writes: they are our own, one a batch.
	markerMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM |
		unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

// attributes are the events of a directory's own mode, owner and times: setting
// an mtime without an atime is IN_MODIFY (fsnotify_change in the kernel).
const attributes = unix.IN_ATTRIB | unix.IN_MODIFY

// arrivals are the events after which another directory may stand at a name.
const arrivals = unix.IN_CREATE | unix.IN_MOVED_TO

// inotify is a Source with a watch on each directory.
type inotify struct {
	queue  queue
	marked bool // hear the marker directory only

	markerWD atomic.Int32

	mu     sync.Mutex // of nodes and moving; never held while waiting
	nodes  nodes
	moving map[uint32]*node // detached by IN_MOVED_FROM, by cookie
	parked []*node          // detached because another took the place

	dirty map[int32]struct{} // squeezed out of the queue, under queue.mu
}

// Inotify returns a Source that sets a watch on each directory armed: about 1.3
// kB of kernel memory each. wake is sent to, without waiting, when there is
// something to take. No instance left comes as ErrLimit.
func Inotify(wake chan<- struct{}) (Source, error) { return newInotify(wake, false) }

// None returns a Source that hears the marker directory only, for file systems
// that send no events: the tree is known by scans alone.
func None(wake chan<- struct{}) (Source, error) { return newInotify(wake, true) }

// newInotify returns a Source, nil with an error: a nil *inotify would be one.
func newInotify(wake chan<- struct{}, marked bool) (Source, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == unix.EMFILE {
		return nil, limit.NoInstance()
	}
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	s := &inotify{marked: marked, nodes: newNodes(), moving: map[uint32]*node{}, dirty: map[int32]struct{}{}}
	s.queue.keep = s.squeeze
	if err := s.queue.start(fd, "inotify", limit.InotifyQueue, wake); err != nil {
		return nil, err
	}
	return s, nil
}

// Arm implements Source. System calls: inotify_add_watch, newfstatat, and fstat
// to compare.
func (s *inotify) Arm(parent Ref, parentFD int, name string, fd int) (Ref, bool, error) {
	if parent == Marker {
		return s.armMarker(fd)
	}
	if s.marked {
		return Ref{}, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if parent.node == nil {
		return s.armRoot(fd)
	}
	if parent.node.dead {
		return Ref{}, false, ErrGone
	}
	wd, err := s.add(fd, treeMask)
	if err != nil {
		return Ref{}, false, err
	}
	known := s.nodes.byWD[wd]
	// With the watch set, a directory that has its name now cannot lose it
	// unheard: the event of that comes behind all that Take saw so far.
	if !isThere(parentFD, name, fd) {
		if known == nil {
			s.remove(wd)
		}
		return Ref{}, false, ErrGone
	}
	if known != nil && known.parent == parent.node && known.name == name {
		known.scan = s.nodes.scan
		return Ref{known}, false, nil
	}
	if known != nil && within(parent.node, known) {
		return Ref{}, false, ErrGone // our picture is behind: events to come will tell
	}
	if old := s.nodes.child[place{parent.node, name}]; old != nil {
		s.park(old)
	}
	n := known
	if n == nil {
		n = &node{wd: wd}
		s.nodes.byWD[wd] = n
	} else {
		s.nodes.detach(n)
	}
	n.scan = s.nodes.scan
	s.nodes.attach(n, parent.node, name)
	return Ref{n}, known == nil, nil
}

// Known implements Source. System call: inotify_add_watch, which tells the number
// of a watch that is there already.
func (s *inotify) Known(fd int) Ref {
	if s.marked {
		return Ref{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wd, err := s.add(fd, treeMask|unix.IN_MASK_ADD) // the root's has more
	if err != nil {
		return Ref{}
	}
	n := s.nodes.byWD[wd]
	if n == nil {
		s.remove(wd)
	}
	return Ref{n}
}

func (s *inotify) armRoot(fd int) (Ref, bool, error) {
	wd, err := s.add(fd, rootMask)
	if err != nil {
		return Ref{}, false, err
	}
	s.nodes.scan++
	if n := s.nodes.byWD[wd]; n != nil {
		return Ref{n}, false, nil
	}
	n := &node{wd: wd}
	s.nodes.byWD[wd] = n
	s.nodes.attach(n, nil, "")
	return Ref{n}, true, nil
}

func (s *inotify) armMarker(fd int) (Ref, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wd, err := s.add(fd, markerMask)
	if err == nil {
		s.markerWD.Store(wd)
	}
	return Marker, false, err
}

// add sets a watch by descriptor: the directory that was opened is the one that
// is heard. The trailing "/." makes the last component no symlink.
func (s *inotify) add(fd int, mask uint32) (wd int32, err error) {
	path := procFD(fd) + "/."
	err = control(s.queue.file, func(queue int) error {
		n, err := unix.InotifyAddWatch(queue, path, mask)
		wd = int32(n)
		return err
	})
	switch {
	case errors.Is(err, unix.ENOSPC):
		return 0, limit.NoWatch(len(s.nodes.byWD))
	case errors.Is(err, unix.ENOENT):
		return 0, ErrGone
	case err != nil:
		return 0, fmt.Errorf("inotify_add_watch: %w", err)
	}
	return wd, nil
}

func (s *inotify) remove(wd int32) {
	_ = control(s.queue.file, func(queue int) error {
		_, err := unix.InotifyRmWatch(queue, uint32(wd))
		return err // it may be gone already, with its directory
	})
}

func (s *inotify) drop(n *node) { s.nodes.drop(n, s.remove) }

// park takes a directory from its place that another one took. It may be gone,
// or exchanged with the other: it keeps its watches until the next Take has
// looked whether it was armed at another place meanwhile.
func (s *inotify) park(n *node) {
	s.nodes.detach(n)
	s.parked = append(s.parked, n)
}

// isThere reports whether name in the directory parentFD is the directory fd.
func isThere(parentFD int, name string, fd int) bool {
	var there, self unix.Stat_t
	return unix.Fstatat(parentFD, name, &there, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(fd, &self) == nil && there.Dev == self.Dev && there.Ino == self.Ino
}

// Wrote implements Source.
func (s *inotify) Wrote() { s.queue.wrote() }

// Forget implements Source.
func (s *inotify) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes.unseen(s.remove)
}

// Remounted implements Source: a watch is of a directory, whatever covers it.
func (s *inotify) Remounted() {}

// Close implements Source.
func (s *inotify) Close() error { return s.queue.close() }

// event is struct inotify_event.
type event struct {
	wd           int32
	mask, cookie uint32
	name         []byte
}

// nextEvent splits the first event off raw: wd s32, mask u32, cookie u32, len
// u32, name filled up with NUL.
func nextEvent(raw []byte) (e event, size int) {
	size = unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(raw[12:]))
	e = event{
		wd:     int32(binary.NativeEndian.Uint32(raw)),
		mask:   binary.NativeEndian.Uint32(raw[4:]),
		cookie: binary.NativeEndian.Uint32(raw[8:]),
		name:   untilNUL(raw[unix.SizeofInotifyEvent:size]),
	}
	return e, size
}

// untilNUL returns the bytes before the first NUL.
func untilNUL(b []byte) []byte {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		return b[:end]
	}
	return b
}

// squeeze keeps of an event about a file only its directory, when more waits
// than memory allows. It is called under queue.mu.
func (s *inotify) squeeze(dst, raw []byte) []byte {
	for len(raw) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(raw)
		if len(e.name) > 0 && e.mask&unix.IN_ISDIR == 0 && e.wd != s.markerWD.Load() {
			s.dirty[e.wd] = struct{}{}
		} else {
			dst = append(dst, raw[:size]...)
		}
		raw = raw[size:]
	}
	return dst
}

// Take implements Source.
func (s *inotify) Take() Events {
	raw, lost, drained := s.queue.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := taking{inotify: s, heard: map[*node]*gathered{}}
	t.Lost, t.Drained = lost, drained
	parked := s.parked
	s.parked = nil
	for len(raw) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(raw)
		t.event(e)
		raw = raw[size:]
		t.Count++
	}
	t.squeezed()
	t.left(parked)
	return t.finish()
}

// taking turns events into what was heard.
type taking struct {
	*inotify
	Events
	heard map[*node]*gathered
}

func (t *taking) event(e event) {
	switch {
	case e.mask&unix.IN_Q_OVERFLOW != 0:
		t.Lost = overflowed(limit.InotifyQueue)
		return
	case e.wd == t.markerWD.Load() && e.wd != 0:
		t.Marker = append(t.Marker, string(e.name))
		return
	}
	n := t.nodes.byWD[e.wd]
	switch {
	case n == nil: // a watch given up, with events still on their way
	case e.mask&unix.IN_UNMOUNT != 0:
		t.Lost = "a file system was unmounted"
		t.RootGone = t.RootGone || n == t.nodes.root
	case e.mask&unix.IN_IGNORED != 0:
		t.ignored(n)
	case e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
		t.RootGone = true // only the root's watch has these
	case len(e.name) > 0:
		t.named(n, e)
	case e.mask&attributes != 0 && n == t.nodes.root:
		t.of(n).Self = true // of all others the parent's event tells
	}
}

// ignored handles the end of a watch: the directory is gone.
func (t *taking) ignored(n *node) {
	delete(t.nodes.byWD, n.wd)
	if n == t.nodes.root {
		t.RootGone = true
		return
	}
	t.drop(n)
}

func (t *taking) named(n *node, e event) {
	directory := e.mask&unix.IN_ISDIR != 0
	if directory && t.directory(n, string(e.name), e) {
		return
	}
	t.of(n).entry(e.name, directory && e.mask&arrivals != 0)
}

// directory follows what happened to the directory name in n, and reports
// whether that is all there is to tell.
func (t *taking) directory(n *node, name string, e event) bool {
	child := t.nodes.child[place{n, name}]
	switch {
	case e.mask&attributes != 0:
		if child != nil {
			t.of(child).Self = true
			return true
		}
	case e.mask&unix.IN_DELETE != 0:
		if child != nil {
			t.drop(child) // if it is a later one of that name, its arrival is still to come
		}
	case e.mask&unix.IN_MOVED_FROM != 0:
		if child != nil {
			t.nodes.detach(child)
			t.moving[e.cookie] = child
		}
	case e.mask&unix.IN_MOVED_TO != 0:
		t.movedTo(n, name, child, e.cookie)
	}
	return false
}

// movedTo completes a rename within the tree: one node changes its place,
// whatever is below it.
func (t *taking) movedTo(parent *node, name string, over *node, cookie uint32) {
	moved := t.moving[cookie]
	if over != nil && over != moved {
		t.park(over)
	}
	if moved == nil || moved.dead {
		return // from outside: it is armed when it is walked
	}
	delete(t.moving, cookie)
	t.nodes.detach(moved) // it may have been armed at another place meanwhile
	if within(parent, moved) {
		t.drop(moved)
		return
	}
	t.nodes.attach(moved, parent, name)
}

// left gives up the directories that were moved away or pushed from their place
// and are nowhere else: they have left the tree.
func (t *taking) left(parked []*node) {
	if t.Drained {
		for cookie, n := range t.moving {
			delete(t.moving, cookie)
			parked = append(parked, n)
		}
	}
	for _, n := range parked {
		if !n.dead && n.parent == nil && n != t.nodes.root {
			t.drop(n)
		}
	}
}

func (t *taking) squeezed() {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for wd := range t.dirty {
		if n := t.nodes.byWD[wd]; n != nil {
			t.of(n).Dirty = true
		}
	}
	clear(t.dirty)
}

func (t *taking) of(n *node) *gathered {
	h := t.heard[n]
	if h == nil {
		h = new(gathered)
		t.heard[n] = h
	}
	return h
}

// finish gives each directory the path it has now. One that has none was
// removed or moved away, of which its parent tells.
func (t *taking) finish() Events {
	for n, h := range t.heard {
		if path, ok := t.nodes.path(n); ok {
			h.Path = path
			t.Dirs = append(t.Dirs, &h.DirEvents)
		}
	}
	return t.Events
}
