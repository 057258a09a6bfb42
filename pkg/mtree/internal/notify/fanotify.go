package notify

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/notify/internal/handles"
	"tidemark/pkg/mtree/internal/sys"
)

// fanotify is a Source with one mark on the whole file system: no cost per directory, and
// nothing to arm. An event names its directory by a file handle. Its path is looked up
// when the event is taken.
type fanotify struct {
	queue    queue
	root     int // descriptor of the root, ours
	pid      int32
	resolver *handles.Resolver

	marker atomic.Pointer[string] // handle of the marker directory
	rootID string                 // handle of the root

	mu     sync.Mutex
	mounts map[handles.Mount]bool // whose file systems are marked

	// Under queue.mu.
	compressedDirs  map[string]struct{} // directories whose events were compressed away
	compressedFiles map[string]uint64   // the same for files that have no directory, with their masks
	links           linkCounts
	unexplained     map[string]struct{} // files whose link count changed and that were not found
}

// anyDir is the Ref of every directory: none needs arming.
var anyDir = Ref{&node{}}

// Fanotify returns a Source for the tree at root by one filesystem mark
// (FAN_REPORT_DFID_NAME, Linux 5.9). It needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH, and
// a file system with file handles that can be opened: ext4, xfs, tmpfs and btrfs (its top
// subvolume), not overlayfs or FUSE. If others is set, the events of this process are
// heard too, else they are dropped. wake is sent to, without waiting, when there is
// something to take.
//
// A file that was opened by its handle, as the kernel's NFS server does, may have no
// directory that the kernel knows of. Events of writes to it have the handle of the file
// alone; changes of its attributes are heard from Linux 5.17 on.
func Fanotify(root int, others bool, wake chan<- struct{}) (Source, error) {
	if err := sys.ThroughProc(root); err != nil {
		return nil, err
	}
	own, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	s := &fanotify{root: own, mounts: map[handles.Mount]bool{}, compressedDirs: map[string]struct{}{}, compressedFiles: map[string]uint64{}, unexplained: map[string]struct{}{}}
	if !others {
		s.pid = int32(os.Getpid())
	}
	fd, err := s.open()
	if err != nil {
		_ = unix.Close(own)
		return nil, err
	}
	s.queue.filter, s.queue.compress = s.filter, s.compress
	if err := s.queue.start(fd, "fanotify", limit.FanotifyQueue, wake); err != nil {
		return nil, err
	}
	return s, nil
}

// open makes the group, marks the root's file system and tries whether its handles can be
// opened again. System calls:
//
//	fanotify_init, fanotify_mark (filesystem), fanotify_mark (the root itself),
//	name_to_handle_at, open_by_handle_at
func (s *fanotify) open() (fd int, err error) {
	fd, s.links.named, err = newGroup()
	if err != nil {
		return -1, fmt.Errorf("fanotify_init: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, heardMask, s.root, "."); err != nil {
		return -1, fmt.Errorf("fanotify_mark of the file system: %w", err)
	}
	if err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, selfMask|unix.FAN_ONDIR, s.root, "."); err != nil {
		return -1, fmt.Errorf("fanotify_mark of the root: %w", err)
	}
	on, err := handles.MountOf(s.root)
	if err != nil {
		return -1, err
	}
	s.mounts[on] = true
	if s.rootID, err = handles.Of(s.root); err != nil {
		return -1, err
	}
	s.resolver = handles.NewResolver(s.root)
	if err = s.resolver.AddMount(s.root, on); err != nil {
		return -1, err
	}
	if err = s.resolver.Try(s.rootID); err != nil {
		return -1, fmt.Errorf("open_by_handle_at: %w", err)
	}
	return fd, nil
}

// newGroup asks for as much as the kernel offers: directory and name; also the handle of
// the file; also the handle of a file that came or went under the name (named).
func newGroup() (fd int, named bool, err error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_REPORT_DFID_NAME
	for _, more := range []uint{unix.FAN_REPORT_FID | unix.FAN_REPORT_TARGET_FID, unix.FAN_REPORT_FID, 0} {
		fd, err = unix.FanotifyInit(flags|more, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != unix.EINVAL {
			return fd, more&unix.FAN_REPORT_TARGET_FID != 0, err
		}
	}
	return fd, false, err
}

// Arm implements Source. The mark hears everything, except another file system, which is
// marked too, and the marker directory, which may be elsewhere. Mounts are recorded,
// because a directory has another path by each mount.
func (s *fanotify) Arm(parent Ref, _ int, _ string, fd int) (Ref, bool, error) {
	if parent == Marker {
		id, err := handles.Of(fd)
		if err != nil {
			return Ref{}, false, err
		}
		s.marker.Store(&id)
		return Marker, false, s.mark(unix.FAN_MARK_ADD, namesMask, fd)
	}
	on, err := handles.MountOf(fd)
	if err != nil {
		return Ref{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mounts[on] {
		return anyDir, false, nil
	}
	if err := s.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, heardMask, fd); err != nil {
		return Ref{}, false, err
	}
	if err := s.resolver.AddMount(fd, on); err != nil {
		return Ref{}, false, err
	}
	s.mounts[on] = true
	return anyDir, false, nil
}

// mark adds a mark on the directory open as fd.
func (s *fanotify) mark(flags uint, mask uint64, fd int) error {
	return s.queue.control(func(group int) error {
		if err := unix.FanotifyMark(group, flags, mask, fd, "."); err != nil {
			return fmt.Errorf("fanotify_mark: %w", err)
		}
		return nil
	})
}

// Remounted implements Source: it forgets mounts that are gone, and everything that was
// found by them.
func (s *fanotify) Remounted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, gone := range s.resolver.Remounted() {
		delete(s.mounts, gone)
	}
}

// Known implements Source.
func (s *fanotify) Known(int) (Ref, error) { return anyDir, nil }

// Wrote implements Source.
func (s *fanotify) Wrote() bool {
	s.queue.wrote()
	return false // the kernel says which process wrote
}

// Forget implements Source: there is nothing to forget.
func (s *fanotify) Forget() {}

// Close implements Source.
func (s *fanotify) Close() error {
	err := s.queue.close()
	s.resolver.Close()
	_ = unix.Close(s.root)
	return err
}

// filter drops our own events, and those of directories known to be outside the tree, so
// that changes on the rest of the disk cause no wake-up. When such a directory is moved
// into the tree, the Take of that move forgets that it was outside, and then the
// directory is walked. The walk finds what the events dropped until then would have
// shown, and directories that were moved into it meanwhile. filter also drops events of
// link counts that other events explain. queue.mu is held.
func (s *fanotify) filter(raw []byte) []byte {
	kept := raw[:0]
	s.resolver.Lock()
	defer s.resolver.Unlock()
	for {
		e, size := nextFanEvent(raw)
		if size == 0 {
			return kept
		}
		if s.matters(e, raw[size:]) {
			kept = append(kept, raw[:size]...)
		}
		raw = raw[size:]
	}
}

// matters reports whether an event is kept; later are the events after it. queue.mu and
// the resolver's lock are held.
func (s *fanotify) matters(e fanEvent, later []byte) bool {
	s.links.events++
	switch {
	case e.mask&unix.FAN_Q_OVERFLOW != 0:
		return true
	case s.pid != 0 && e.pid == s.pid:
		return false
	case e.isLinkCount():
		return !s.links.explain(e, later)
	}
	if s.links.note(e) && len(s.unexplained) > 0 {
		delete(s.unexplained, string(e.file))
	}
	return !s.resolver.HasOutside(e.dir) || s.isMarker(e.dir)
}

// compress reduces an event about a file to its directory, when more events wait than
// memory allows. queue.mu is held.
func (s *fanotify) compress(dst, raw []byte) []byte {
	for {
		e, size := nextFanEvent(raw)
		switch {
		case size == 0:
			return dst
		case e.hasNoDir():
			s.compressedFiles[string(e.file)] |= e.mask
		case len(e.dir) > 0 && !e.isDir() && !s.isMarker(e.dir):
			s.compressedDirs[string(e.dir)] = struct{}{}
		default:
			dst = append(dst, raw[:size]...)
		}
		raw = raw[size:]
	}
}

func (s *fanotify) isMarker(dir []byte) bool {
	id := s.marker.Load()
	return id != nil && *id == string(dir)
}
