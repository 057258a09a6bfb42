package notify

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
)

const (
	// heardMask is what is heard of the whole file system.
	heardMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO |
		unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_ONDIR
	// namesMask is what is heard of the marker directory.
	namesMask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO
	selfMask  = unix.FAN_DELETE_SELF | unix.FAN_MOVE_SELF
)

// fanotify is a Source with one mark on the whole file system: no cost per
// directory, and nothing to arm. An event names its directory by a file handle;
// which path that is now is asked when it is taken.
type fanotify struct {
	queue  queue
	root   int // descriptor of the root, ours
	pid    int32
	places *places

	marker atomic.Pointer[string] // handle of the marker directory
	rootID string                 // handle of the root

	mu     sync.Mutex
	mounts map[mount]bool // whose file systems are marked

	// Under queue.mu.
	dirty    map[string]struct{} // directories squeezed out of the queue
	squeezed map[string]uint64   // files that have no directory, with their masks, likewise
	links    links
	puzzles  map[string]struct{} // files whose link count changed and that were not found
}

// everywhere is the Ref of every directory: none needs arming.
var everywhere = Ref{&node{}}

// Fanotify returns a Source for the tree at root by one filesystem mark
// (FAN_REPORT_DFID_NAME, Linux 5.9). It needs CAP_SYS_ADMIN and
// CAP_DAC_READ_SEARCH, and a file system with file handles that can be opened:
// ext4, xfs, tmpfs and btrfs (its top subvolume), not overlayfs or FUSE. With
// others, the events of this process are heard too, else they are dropped.
//
// A file that was opened by its handle, as the kernel's NFS server does, may have
// no directory that the kernel knows of. What is written to it is told with the
// handle of the file alone (loose.go); of its attributes from Linux 5.17 on.
func Fanotify(root int, others bool, wake chan<- struct{}) (Source, error) {
	own, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	s := &fanotify{root: own, mounts: map[mount]bool{}, dirty: map[string]struct{}{}, squeezed: map[string]uint64{}, puzzles: map[string]struct{}{}}
	if !others {
		s.pid = int32(os.Getpid())
	}
	fd, err := s.open()
	if err != nil {
		_ = unix.Close(own)
		return nil, err
	}
	s.queue.sift, s.queue.keep = s.sift, s.squeeze
	if err := s.queue.start(fd, "fanotify", limit.FanotifyQueue, wake); err != nil {
		return nil, err
	}
	return s, nil
}

// open makes the group, marks the root's file system and tries whether its
// handles can be opened again. System calls:
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
	on, err := mountOf(s.root)
	if err != nil {
		return -1, err
	}
	s.mounts[on] = true
	if s.rootID, err = handleOf(s.root); err != nil {
		return -1, err
	}
	s.places = newPlaces(s.root)
	if err = s.places.mount(s.root, on); err != nil {
		return -1, err
	}
	if _, err = s.places.open(s.rootID); err != nil {
		return -1, fmt.Errorf("open_by_handle_at: %w", err)
	}
	return fd, nil
}

// newGroup asks for as much as the kernel knows: the directory and the name, the
// handle of the file beside them, and that of what came or went under the name
// (named).
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

// handleOf returns a directory's identity as events give it: the file system's
// id, 8 bytes, then struct file_handle.
func handleOf(fd int) (string, error) {
	handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return "", fmt.Errorf("name_to_handle_at: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return "", fmt.Errorf("fstatfs: %w", err)
	}
	id := make([]byte, 0, 16+handle.Size())
	id = append(id, unsafe.Slice((*byte)(unsafe.Pointer(&fs.Fsid)), 8)...)
	id = binary.NativeEndian.AppendUint32(id, uint32(handle.Size()))
	id = binary.NativeEndian.AppendUint32(id, uint32(handle.Type()))
	return string(append(id, handle.Bytes()...)), nil
}

// Arm implements Source: the mark hears all, except of another file system,
// which is marked too, and of the marker directory, which may be elsewhere. Where a
// mount begins it is noted, for a directory has another path by each.
func (s *fanotify) Arm(parent Ref, _ int, _ string, fd int) (Ref, bool, error) {
	if parent == Marker {
		id, err := handleOf(fd)
		if err != nil {
			return Ref{}, false, err
		}
		s.marker.Store(&id)
		return Marker, false, s.mark(unix.FAN_MARK_ADD, namesMask, fd)
	}
	on, err := mountOf(fd)
	if err != nil {
		return Ref{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mounts[on] {
		return everywhere, false, nil
	}
	if err := s.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, heardMask, fd); err != nil {
		return Ref{}, false, err
	}
	if err := s.places.mount(fd, on); err != nil {
		return Ref{}, false, err
	}
	s.mounts[on] = true
	return everywhere, false, nil
}

// Remounted implements Source: mounts that are gone are let go, with all that was
// found by them.
func (s *fanotify) Remounted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, gone := range s.places.remounted() {
		delete(s.mounts, gone)
	}
}

func (s *fanotify) mark(flags uint, mask uint64, fd int) error {
	return control(s.queue.file, func(group int) error {
		if err := unix.FanotifyMark(group, flags, mask, fd, "."); err != nil {
			return fmt.Errorf("fanotify_mark: %w", err)
		}
		return nil
	})
}

// Known implements Source.
func (s *fanotify) Known(int) Ref { return everywhere }

// Wrote implements Source.
func (s *fanotify) Wrote() { s.queue.wrote() }

// Forget implements Source: there is nothing to forget.
func (s *fanotify) Forget() {}

// Close implements Source.
func (s *fanotify) Close() error {
	err := s.queue.close()
	s.places.close()
	_ = unix.Close(s.root)
	return err
}

// fanEvent is struct fanotify_event_metadata with its records of the directory
// and of the file.
type fanEvent struct {
	mask uint64
	pid  int32
	dir  []byte // as handleOf; empty if the event has none
	name []byte // "." for the directory itself
	file []byte // as handleOf: what is called name; empty if it is not told
}

// Sizes of the kernel's structs.
const (
	fanMetadata = 24 // event_len u32, vers u8, reserved u8, metadata_len u16, mask u64, fd s32, pid s32
	fanHeader   = 4  // info_type u8, pad u8, len u16
	fanFSID     = 8
	fanHandle   = 8 // handle_bytes u32, handle_type s32
)

// nextFanEvent splits the first event off raw; size 0 ends the buffer.
func nextFanEvent(raw []byte) (e fanEvent, size int) {
	if len(raw) < fanMetadata {
		return e, 0
	}
	size = int(binary.NativeEndian.Uint32(raw))
	if size < fanMetadata || size > len(raw) {
		return e, 0
	}
	e.mask = binary.NativeEndian.Uint64(raw[8:])
	e.pid = int32(binary.NativeEndian.Uint32(raw[20:]))
	info := raw[binary.NativeEndian.Uint16(raw[6:]):size]
	for len(info) >= fanHeader {
		length := int(binary.NativeEndian.Uint16(info[2:]))
		if length < fanHeader || length > len(info) {
			break
		}
		switch info[0] {
		case unix.FAN_EVENT_INFO_TYPE_DFID_NAME:
			var name []byte
			e.dir, name = splitRecord(info[fanHeader:length])
			e.name = untilNUL(name)
		case unix.FAN_EVENT_INFO_TYPE_FID:
			e.file, _ = splitRecord(info[fanHeader:length])
		}
		info = info[length:]
	}
	return e, size
}

// splitRecord takes apart fsid with file_handle, and the name behind them.
func splitRecord(record []byte) (handle, name []byte) {
	if len(record) < fanFSID+fanHandle {
		return nil, nil
	}
	end := fanFSID + fanHandle + int(binary.NativeEndian.Uint32(record[fanFSID:]))
	if end > len(record) {
		return nil, nil
	}
	return record[:end], record[end:]
}

// sift drops our own events, and those of directories known to be outside the
// tree, so that what the rest of the disk does wakes nobody. A directory that
// is moved in after it was found outside is forgotten by the Take of that move,
// and is then walked: nothing dropped until then is missed, nor what was moved in
// it meanwhile. Nor does it keep events of link counts that others explain. Called
// under queue.mu.
func (s *fanotify) sift(raw []byte) []byte {
	kept := raw[:0]
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
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

// matters reports whether an event is kept; later are those behind it.
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
	if s.links.note(e) && len(s.puzzles) > 0 {
		delete(s.puzzles, string(e.file))
	}
	_, outside := s.places.outside[string(e.dir)]
	return !outside || s.isMarker(e.dir)
}

// isMove reports whether a directory was renamed.
func isMove(mask uint64) bool {
	return mask&unix.FAN_ONDIR != 0 && mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0
}

// squeeze keeps of an event about a file only its directory, when more waits
// than memory allows. It is called under queue.mu.
func (s *fanotify) squeeze(dst, raw []byte) []byte {
	for {
		e, size := nextFanEvent(raw)
		switch {
		case size == 0:
			return dst
		case e.isLoose():
			s.squeezed[string(e.file)] |= e.mask
		case len(e.dir) > 0 && e.mask&unix.FAN_ONDIR == 0 && !s.isMarker(e.dir):
			s.dirty[string(e.dir)] = struct{}{}
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

// Take implements Source.
func (s *fanotify) Take() Events {
	t := fanTaking{fanotify: s, heard: map[string]*gathered{}}
	s.places.begin()
	t.read()
	t.findLoose()
	return t.finish()
}

// fanTaking turns events into what was heard.
type fanTaking struct {
	*fanotify
	Events
	heard map[string]*gathered
	order []string             // of heard: who is made stands behind the one it was made in
	loose map[string]uint64    // masks of files that have no directory, by handle
	found map[string]*gathered // those of them that were found, by path of the directory
	moved bool                 // a directory came into the tree, by an event of this read
}

// read takes what waits.
func (t *fanTaking) read() {
	raw, lost, drained := t.queue.take()
	t.Drained, t.moved = drained, false
	if lost != "" {
		t.Lost = lost
	}
	for {
		e, size := nextFanEvent(raw)
		if size == 0 {
			break
		}
		t.Count++
		t.event(e)
		raw = raw[size:]
	}
	if t.Lost != "" {
		t.places.moved() // by what was lost
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for dir := range t.dirty {
		t.of([]byte(dir)).Dirty = true
	}
	clear(t.dirty)
	for file, mask := range t.squeezed {
		t.looseFile([]byte(file), mask)
	}
	clear(t.squeezed)
}

func (t *fanTaking) event(e fanEvent) {
	switch {
	case e.mask&unix.FAN_Q_OVERFLOW != 0:
		t.Lost = overflowed(limit.FanotifyQueue)
		return
	case e.mask&selfMask != 0 && (string(e.dir) == t.rootID || string(e.file) == t.rootID):
		t.RootGone = true
	}
	directory := e.mask&unix.FAN_ONDIR != 0
	if isMove(e.mask) && !t.moved {
		t.move(e)
	}
	switch {
	case e.isLoose():
		t.looseFile(e.file, e.mask)
	case len(e.dir) == 0:
	case t.isMarker(e.dir):
		if e.mask&namesMask != 0 {
			t.Marker = append(t.Marker, string(e.name))
		}
	case t.places.isOutside(e.dir):
	case len(e.name) == 0 || string(e.name) == ".":
		if e.mask&heardMask&^unix.FAN_ONDIR != 0 {
			t.of(e.dir).Self = true
		}
	default:
		t.of(e.dir).entry(e.name, directory && e.mask&(unix.FAN_CREATE|unix.FAN_MOVED_TO) != 0)
	}
}

// move forgets what a renamed directory may have made untrue. Where it came from
// and where it went to has an event each, and it is asked how things are behind all
// events of this read: into a directory that is outside by now, or gone, nothing came
// that is in the tree by this. Else what was outside may be inside.
func (t *fanTaking) move(e fanEvent) {
	if t.places.isOutside(e.dir) {
		return
	}
	_, inside, err := t.places.path(string(e.dir))
	switch {
	case t.places.isOutside(e.dir): // as was just found
	case e.mask&unix.FAN_MOVED_TO != 0 && (inside || err != nil):
		t.places.moved()
		t.moved = true
	default:
		t.places.forget()
	}
}

func (t *fanTaking) of(dir []byte) *gathered {
	h := t.heard[string(dir)]
	if h == nil {
		h = new(gathered)
		id := string(dir)
		t.heard[id] = h
		t.order = append(t.order, id)
	}
	return h
}

// finish finds out where the directories are.
func (t *fanTaking) finish() Events {
	for _, dir := range t.order {
		h := t.heard[dir]
		path, ok, err := t.places.path(dir)
		if err != nil {
			t.Lost = err.Error()
		}
		if !ok {
			continue
		}
		if found := t.found[path]; found != nil {
			for _, e := range found.Entries {
				h.entry([]byte(e.Name), false)
			}
			delete(t.found, path)
		}
		h.Path = path
		t.Dirs = append(t.Dirs, &h.DirEvents)
	}
	for path, h := range t.found {
		h.Path = path
		t.Dirs = append(t.Dirs, &h.DirEvents)
	}
	return t.Events
}
