package notify

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Bounds of what is looked at. Where more waits, a burst is under way, and what comes next
// is better gathered.
const (
	maxPeek = 16 << 10 // bytes of events
	maxOpen = 64       // names
)

// written are the events that say of a name that it is whole: it was closed, it came or
// went by a rename, or it was removed.
const written = unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE

// openNames gathers the names that are not known to be whole. Events of one name may have
// been merged; then their order is not known, and a close counts as the last. The
// masks of fanotify and inotify are the same.
type openNames struct {
	names   []openName
	left    [][]byte // directories that a name left by a rename
	entered [][]byte // directories that one entered
	unclear bool     // there was an event that says less, or there are too many names
}

// openName is a name that was made or written and not closed.
type openName struct {
	dir, name []byte
	written   bool
}

// event adds an event of a name in a directory. The slices are kept.
func (o *openNames) event(dir, name []byte, mask uint64) {
	if mask&unix.IN_MOVED_FROM != 0 { // guard: TestWaiting
		o.left = append(o.left, dir)
	}
	if mask&unix.IN_MOVED_TO != 0 {
		o.entered = append(o.entered, dir)
	}
	if mask&unix.IN_ISDIR != 0 {
		return
	}
	i := slices.IndexFunc(o.names, func(n openName) bool { return bytes.Equal(n.name, name) && bytes.Equal(n.dir, dir) })
	switch {
	case mask&written != 0:
		if i >= 0 {
			o.names = slices.Delete(o.names, i, i+1)
		}
	case mask&(unix.IN_CREATE|unix.IN_MODIFY) == 0: // attributes
	case i >= 0:
		o.names[i].written = o.names[i].written || mask&unix.IN_MODIFY != 0
	case len(o.names) == maxOpen:
		o.unclear = true
	default:
		o.names = append(o.names, openName{dir, name, mask&unix.IN_MODIFY != 0})
	}
}

// pathOf returns the path of a directory; false if it is not in the tree. An error means that
// this cannot be known.
type pathOf func(dir []byte) (path string, ok bool, err error)

// waiting returns what waits. What is not in the tree does not count.
func (o *openNames) waiting(of pathOf) (w Waiting) {
	inside := func(dir []byte) bool {
		_, ok, err := of(dir)
		w.Open = w.Open || err != nil
		return ok
	}
	if count(o.left, inside) > count(o.entered, inside) { // guard: TestWaiting
		w.Open = true
	}
	for _, n := range o.names {
		switch dir, ok, err := of(n.dir); {
		case err != nil, ok && n.written, w.Open:
			return Waiting{Open: true}
		case ok:
			w.Made = append(w.Made, mtree.JoinPath(dir, string(n.name)))
		}
	}
	return w
}

// count returns how many of the directories are inside.
func count(dirs [][]byte, inside func(dir []byte) bool) (n int) {
	for _, dir := range dirs {
		if inside(dir) {
			n++
		}
	}
	return n
}

// lookAt says what waits; add adds the events.
func (q *queue) lookAt(add func(o *openNames, events []byte), of pathOf) Waiting {
	var o openNames
	if whole := q.peek(maxPeek, func(events []byte) { add(&o, bytes.Clone(events)) }); !whole || o.unclear {
		return Waiting{Open: true}
	}
	return o.waiting(of)
}

// Waiting implements Source.
func (s *inotify) Waiting() Waiting {
	return s.queue.lookAt(s.addOpen, func(wd []byte) (path string, ok bool, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := s.nodes.byWD[int32(binary.NativeEndian.Uint32(wd))]
		if n != nil {
			path, ok = s.nodes.path(n)
		}
		return path, ok, nil
	})
}

// addOpen adds events as nextEvent splits them.
func (s *inotify) addOpen(o *openNames, raw []byte) {
	const unknown = unix.IN_Q_OVERFLOW | unix.IN_UNMOUNT | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	for len(raw) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(raw)
		switch {
		case e.mask&unknown != 0:
			o.unclear = true
		case len(e.name) > 0 && e.wd != s.markerWD.Load():
			o.event(raw[:4], e.name, uint64(e.mask))
		}
		raw = raw[size:]
	}
}

// Waiting implements Source.
func (s *fanotify) Waiting() Waiting {
	s.resolver.Begin() // guard: TestWaitingAfterTheRootMoved
	return s.queue.lookAt(s.addOpen, func(dir []byte) (string, bool, error) { return s.resolver.Dir(string(dir)) })
}

// addOpen adds events as nextFanEvent splits them.
func (s *fanotify) addOpen(o *openNames, raw []byte) {
	for {
		e, size := nextFanEvent(raw)
		switch {
		case size == 0:
			return
		case e.isLinkCount() && e.isExplainedBy(raw[size:]):
		case e.mask&(unix.FAN_Q_OVERFLOW|selfMask) != 0, e.hasNoDir():
			o.unclear = true // the event that explains a link count is still to come
		case !s.isMarker(e.dir):
			o.event(e.dir, e.name, e.mask)
		}
		raw = raw[size:]
	}
}
