package notify

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
)

// Take implements Source.
func (s *inotify) Take() Events {
	raw, lost, drained := s.queue.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := inotifyTake{inotify: s, heard: map[*node]*merger{}}
	t.Lost, t.Drained = lost, drained
	displaced := s.displaced
	s.displaced = nil
	for len(raw) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(raw)
		t.event(e)
		raw = raw[size:]
		t.Count++
	}
	t.addCompressed()
	t.dropGone(displaced)
	return t.finish()
}

// inotifyTake turns the kernel's events into Events.
type inotifyTake struct {
	*inotify
	Events
	heard map[*node]*merger
}

// event adds one event of the kernel.
func (t *inotifyTake) event(e event) {
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
	case n == nil: // its watch was given up while these events were under way
	case e.mask&unix.IN_UNMOUNT != 0:
		t.Lost = "a file system was unmounted"
		t.RootGone = t.RootGone || n == t.nodes.root
	case e.mask&unix.IN_IGNORED != 0:
		t.ignored(n)
	case e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
		t.RootGone = true // only the root's watch has these
	case len(e.name) > 0:
		t.named(n, e)
	case e.mask&attributes != 0: // guard: TestMountRoots
		t.of(n).Self++
	}
}

// ignored handles the end of a watch: the directory is gone.
func (t *inotifyTake) ignored(n *node) {
	delete(t.nodes.byWD, n.wd)
	if n == t.nodes.root {
		t.RootGone = true
		return
	}
	t.drop(n)
}

// named handles an event of a name in n.
func (t *inotifyTake) named(n *node, e event) {
	directory := e.mask&unix.IN_ISDIR != 0
	if directory && t.directory(n, string(e.name), e) {
		return
	}
	t.of(n).add(e.name).happened(directory, uint64(e.mask))
}

// directory follows an event of the directory name in n. It reports true if n itself did
// not change by it.
func (t *inotifyTake) directory(n *node, name string, e event) bool {
	child := t.nodes.child[nodeKey{parent: n, name: name}]
	switch {
	case e.mask&attributes != 0:
		if child != nil {
			return true // it has an event of its own, which tells where it is, too
		}
	case e.mask&unix.IN_DELETE != 0:
		if child != nil {
			t.drop(child) // if it is a later directory of that name, the event of its arrival is still to come
		}
	case e.mask&unix.IN_MOVED_FROM != 0:
		t.leaving[e.cookie] = true
		if child != nil {
			t.nodes.detach(child)
			t.moving[e.cookie] = child
		}
	case e.mask&unix.IN_MOVED_TO != 0:
		delete(t.leaving, e.cookie) // guard: TestStrayed
		t.movedTo(n, name, child, e.cookie)
	}
	return false
}

// movedTo completes a rename within the tree: one node changes its place, and all below
// moves with it.
func (t *inotifyTake) movedTo(parent *node, name string, over *node, cookie uint32) {
	moved := t.moving[cookie]
	if over != nil && over != moved {
		t.displace(over)
	}
	if moved == nil || moved.dead {
		return // from outside: it is armed when it is walked
	}
	delete(t.moving, cookie)
	t.nodes.detach(moved) // it may have been armed at another place meanwhile
	if within(parent, moved) {
		if throughMount(parent, moved) { // guard: TestMovedIntoWhatItShows
			t.Lost = "a directory was moved into what a mount in it shows"
		}
		t.drop(moved)
		return
	}
	t.nodes.attach(moved, nodeKey{parent: parent, name: name})
}

// dropGone drops the directories that were moved away or displaced and are nowhere else:
// they have left the tree.
func (t *inotifyTake) dropGone(displaced []*node) {
	if t.Drained {
		for _, cookie := range slices.Sorted(maps.Keys(t.moving)) {
			displaced = append(displaced, t.moving[cookie])
		}
		t.Strayed = len(t.leaving) > 0
		clear(t.moving)
		clear(t.leaving)
	}
	for _, n := range displaced {
		if !n.dead && n.parent == nil && n != t.nodes.root {
			t.drop(n)
		}
	}
}

// addCompressed adds the directories whose events were compressed away.
func (t *inotifyTake) addCompressed() {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for wd := range t.compressed {
		if n := t.nodes.byWD[wd]; n != nil {
			t.of(n).Dirty = true
		}
	}
	clear(t.compressed)
}

// of returns the events of a directory.
func (t *inotifyTake) of(n *node) *merger {
	m := t.heard[n]
	if m == nil {
		m = new(merger)
		t.heard[n] = m
	}
	return m
}

// finish gives each directory the path that it has now. One without a path was removed or
// moved away: its parent has an event about that.
func (t *inotifyTake) finish() Events {
	for n, m := range t.heard {
		if path, ok := t.nodes.path(n); ok {
			m.Path = path
			t.Dirs = append(t.Dirs, &m.DirEvents)
		}
	}
	return t.Events
}
