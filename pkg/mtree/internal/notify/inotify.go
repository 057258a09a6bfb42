package notify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/notify/internal/handles"
	"tidemark/pkg/mtree/internal/sys"
)

const (
	// treeMask is what is heard of each directory. IN_MODIFY besides
	// IN_CLOSE_WRITE because log files stay open for days; IN_ATTRIB is also
	// how a time set on a directory by somebody else is heard.
	treeMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
		unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK
	// rootMask has the root's own end, too, which no event of a parent shows.
	rootMask = treeMask | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// markerMask leaves out writes: they are our own, one a batch.
	markerMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM |
		unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
)

// attributes are the events of a directory's own mode, owner and times: setting
// an mtime without an atime is IN_MODIFY (fsnotify_change in the kernel).
const attributes = unix.IN_ATTRIB | unix.IN_MODIFY

// inotify is a Source with a watch on each directory.
type inotify struct {
	queue      queue
	markerOnly bool // hear the marker directory only

	markerWD atomic.Int32

	mu        sys.Mutex // of nodes, moving, leaving, displaced and unmounted; never held while waiting
	nodes     nodes
	moving    map[uint32]*node // detached by IN_MOVED_FROM, by cookie
	leaving   map[uint32]bool  // cookies of IN_MOVED_FROM of directories, without their IN_MOVED_TO so far
	displaced []*node          // detached because another one took the place
	unmounted []*node          // what was mounted at their places is gone

	compressed map[int32]struct{} // directories whose events were compressed away, under queue.mu
}

// Inotify returns a Source that sets a watch on each directory armed: about 1.3
// kB of kernel memory each. wake is sent to, without waiting, when there is
// something to take. No instance left comes as ErrLimit.
func Inotify(wake chan<- struct{}) (Source, error) { return newInotify(wake, false) }

// None returns a Source that hears the marker directory only, for file systems
// that send no events: the tree is known by scans alone. Without /proc it may not hear that.
func None(wake chan<- struct{}) (Source, error) { return newInotify(wake, true) }

// newInotify returns a Source, not an *inotify: a nil *inotify in a Source would not be nil.
func newInotify(wake chan<- struct{}, markerOnly bool) (Source, error) {
	fd, err := sys.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == unix.EMFILE {
		return nil, limit.NoInstance()
	}
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	if err := sys.ThroughProc(fd); err != nil && !markerOnly { // guard: TestSourcesWithoutProc
		_ = sys.Close(fd)
		return nil, err
	}
	s := &inotify{markerOnly: markerOnly, nodes: newNodes(), moving: map[uint32]*node{}, leaving: map[uint32]bool{}, compressed: map[int32]struct{}{}}
	s.queue.compress = s.compress
	if err := s.queue.start(fd, "inotify", limit.InotifyQueue, wake); err != nil {
		return nil, err
	}
	return s, nil
}

// Arm implements Source. System calls: inotify_add_watch, newfstatat, and statx
// to compare.
func (s *inotify) Arm(parent Ref, parentFD int, name string, fd int) (Ref, bool, error) {
	if parent == Marker {
		return s.armMarker(name, fd)
	}
	if s.markerOnly {
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
	wd, err := s.add(fd, treeMask|unix.IN_MASK_ADD) // the root may be mounted in itself
	if err != nil {
		return Ref{}, false, err
	}
	known := s.nodes.byWD[wd]
	// Once the watch is set, a directory that has its name now cannot lose it unheard: the
	// event of that comes after everything that Take has seen so far.
	mount, err := isThere(parentFD, name, fd)
	if err != nil {
		if known == nil {
			s.remove(wd)
		}
		return Ref{}, false, err
	}
	at := nodeKey{parent.node, name, mount}
	s.vacate(parent.node, name)
	inItself := known != nil && within(parent.node, known)
	// guard (without !throughMount(parent.node, known)): TestAWalkThatMeetsADirectoryInItself
	if inItself && mount == 0 && !throughMount(parent.node, known) { // guard (without mount == 0): TestMountedInItself
		return Ref{}, false, ErrGone // our picture is out of date: events to come will correct it
	}
	if inItself || known != nil && known.key() == at {
		known.scan = s.nodes.scan
		return Ref{known}, false, nil
	}
	if old := s.nodes.child[at]; old != nil {
		s.displace(old)
	}
	n := known
	if n == nil {
		n = &node{wd: wd}
		s.nodes.byWD[wd] = n
	} else {
		s.nodes.detach(n)
	}
	n.scan = s.nodes.scan
	s.nodes.attach(n, at)
	return Ref{n}, known == nil, nil
}

// Known implements Source. System call: inotify_add_watch, which returns the number of a
// watch that is there already.
func (s *inotify) Known(fd int) (Ref, error) {
	if s.markerOnly {
		return Ref{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wd, err := s.add(fd, treeMask|unix.IN_MASK_ADD) // the watch of the root has more
	if err != nil {                                 // guard: TestKnown
		return Ref{}, err
	}
	n := s.nodes.byWD[wd]
	if n == nil {
		s.remove(wd)
	}
	return Ref{n}, nil
}

// armRoot arms the root, which begins a scan.
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
	s.nodes.attach(n, nodeKey{})
	return Ref{n}, true, nil
}

// armMarker arms the marker directory: without /proc by its path. What is heard of it only
// wakes, so None does without it; whether it is there and what is in it is looked at.
func (s *inotify) armMarker(path string, fd int) (Ref, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wd, err := s.add(fd, markerMask)
	if errors.Is(err, sys.ErrNoProc) { // guard: TestMarkerWithoutProc
		path += "/."
		if wd, err = s.addPath(path, markerMask); err == nil {
			if _, err = isThere(unix.AT_FDCWD, path, fd); err != nil {
				s.remove(wd)
			}
		}
		if s.markerOnly && errors.Is(err, ErrGone) { // guard: TestSourcesWithoutProc
			return Marker, false, nil
		}
	}
	if err == nil {
		s.markerWD.Store(wd)
	}
	return Marker, false, err
}

// add sets a watch by descriptor: the directory that was opened is the one that
// is heard. The trailing "/." makes the last component no symlink. ErrGone: it was removed;
// where /proc went, that would be said of every directory, and nobody would miss their events.
func (s *inotify) add(fd int, mask uint32) (wd int32, err error) {
	wd, err = s.addPath(sys.FDPath(fd)+"/.", mask)
	if err == ErrGone {
		if missing := sys.ThroughProc(fd); missing != nil { // guard: TestProcIsUnmounted
			return 0, missing
		}
	}
	return wd, err
}

// addPath sets a watch by path.
func (s *inotify) addPath(path string, mask uint32) (wd int32, err error) {
	err = s.queue.control(func(queue int) error {
		n, err := sys.InotifyAddWatch(queue, path, mask)
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
	_ = s.queue.control(func(queue int) error {
		_, err := sys.InotifyRmWatch(queue, uint32(wd))
		return err // the watch may be gone already, with its directory
	})
}

func (s *inotify) drop(n *node) { s.nodes.drop(n, s.remove) }

// displace takes a directory from its place because another one is there now. It may be
// gone, or exchanged with the other. So it keeps its watches until the next Take has
// checked whether it was armed at another place meanwhile.
func (s *inotify) displace(n *node) {
	s.nodes.detach(n)
	s.displaced = append(s.displaced, n)
}

// isThere returns an error, ErrGone, unless name in the directory parentFD is the directory fd.
// Where that cannot be found out, no event is sure to tell more. It also returns the mount whose root fd
// is, 0 if it is none (before Linux 5.8: always).
func isThere(parentFD int, name string, fd int) (mount uint64, err error) {
	var there unix.Stat_t
	var self unix.Statx_t
	err = sys.Fstatat(parentFD, name, &there, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		err = sys.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, &self)
	}
	switch {
	case err == unix.ENOENT, err == nil && (there.Dev != unix.Mkdev(self.Dev_major, self.Dev_minor) || there.Ino != self.Ino):
		return 0, ErrGone
	case err != nil: // guard: TestArmWhatCannotBeFound
		return 0, fmt.Errorf("looking for what was armed: %w", err)
	}
	if self.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		mount = self.Mnt_id
	}
	return mount, nil
}

// Wrote implements Source.
func (s *inotify) Wrote() bool {
	s.queue.wrote()
	return !s.markerOnly
}

// Forget implements Source.
func (s *inotify) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes.unseen(s.remove)
}

// Remounted implements Source: it notes what was mounted and is gone. A watch is on a directory, even
// if a mount covers it, or it is mounted no more.
func (s *inotify) Remounted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unmounted = nil
	mounted := s.nodes.mounted()
	if len(mounted) == 0 {
		return
	}
	ids, err := handles.MountIDs()
	if err != nil {
		return // what is heard of it besides does no harm
	}
	for _, n := range mounted {
		if !ids[n.mount] {
			s.unmounted = append(s.unmounted, n)
		}
	}
}

// vacate takes from a place what was mounted there.
func (s *inotify) vacate(parent *node, name string) {
	s.unmounted = slices.DeleteFunc(s.unmounted, func(n *node) bool {
		if n.parent == parent && n.name == name {
			s.displace(n)
		}
		return n.parent == nil // also if it was dropped meanwhile
	})
}

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
	size = min(unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(raw[12:])), len(raw))
	e = event{
		wd:     int32(binary.NativeEndian.Uint32(raw)),
		mask:   binary.NativeEndian.Uint32(raw[4:]),
		cookie: binary.NativeEndian.Uint32(raw[8:]),
		name:   untilNUL(raw[unix.SizeofInotifyEvent:size]),
	}
	return e, size
}

// compress keeps of an event about a file only its directory, when more waits than memory
// allows. queue.mu is held.
func (s *inotify) compress(dst, raw []byte) []byte {
	for len(raw) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(raw)
		if len(e.name) > 0 && e.mask&unix.IN_ISDIR == 0 && e.wd != s.markerWD.Load() {
			s.compressed[e.wd] = struct{}{}
		} else {
			dst = append(dst, raw[:size]...)
		}
		raw = raw[size:]
	}
	return dst
}
