package notify

import (
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/notify/internal/handles"
)

// Take implements Source.
func (s *fanotify) Take() Events {
	t := fanotifyTake{fanotify: s, heard: map[string]*merger{}}
	s.resolver.Begin()
	t.read()
	t.findFiles()
	return t.finish()
}

// fanotifyTake turns the kernel's events into Events.
type fanotifyTake struct {
	*fanotify
	Events
	heard map[string]*merger
	order []string           // of heard: a directory that was made stands after the one in which it was made
	files map[string]uint64  // masks of files that have no directory, by handle
	found map[string]*merger // those of them that were found, by path of the directory
	moved bool               // a directory came into the tree, by an event of this read

	removed bool // a directory was removed, or may have been
}

// read takes the waiting events.
func (t *fanotifyTake) read() {
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
		t.resolver.Arrived() // one of the lost events may have been an arrival
		t.removed = true
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for dir := range t.compressedDirs {
		t.of([]byte(dir)).Dirty = true
	}
	clear(t.compressedDirs)
	for file, mask := range t.compressedFiles {
		t.addFile([]byte(file), mask)
	}
	clear(t.compressedFiles)
}

// event adds one event of the kernel.
func (t *fanotifyTake) event(e fanEvent) {
	switch {
	case e.mask&unix.FAN_Q_OVERFLOW != 0:
		t.Lost = overflowed(limit.FanotifyQueue)
		return
	case e.mask&selfMask != 0 && (string(e.dir) == t.rootID || string(e.file) == t.rootID):
		t.RootGone = true
	}
	if e.isDirMove() && !t.moved {
		t.move(e)
	}
	t.removed = t.removed || e.isDir() && e.mask&unix.FAN_DELETE != 0
	switch {
	case e.hasNoDir():
		t.addFile(e.file, e.mask)
	case len(e.dir) == 0:
	case t.isMarker(e.dir):
		if e.mask&namesMask != 0 {
			t.Marker = append(t.Marker, string(e.name))
		}
	case t.resolver.IsOutside(e.dir):
	case len(e.name) == 0 || string(e.name) == ".":
		if e.mask&heardMask&^unix.FAN_ONDIR != 0 {
			t.of(e.dir).Self++
		}
	default:
		t.of(e.dir).add(e.name).happened(e.isDir(), e.mask)
	}
}

// move forgets paths that a renamed directory may have made wrong. The old and the new
// place have an event each. The resolver answers as of after all events of this read. If
// the directory of the event is outside by then, or gone, this event brought nothing into
// the tree. Else directories from outside may be inside now.
func (t *fanotifyTake) move(e fanEvent) {
	if t.resolver.IsOutside(e.dir) {
		return
	}
	_, inside, err := t.resolver.Dir(string(e.dir))
	switch {
	case t.resolver.IsOutside(e.dir): // as was just found
	case e.mask&unix.FAN_MOVED_TO != 0 && (inside || err != nil):
		t.resolver.Arrived()
		t.moved = true
	default:
		t.resolver.Renamed()
	}
}

// of returns the events of a directory, by its handle.
func (t *fanotifyTake) of(dir []byte) *merger {
	m := t.heard[string(dir)]
	if m == nil {
		m = new(merger)
		id := string(dir)
		t.heard[id] = m
		t.order = append(t.order, id)
	}
	return m
}

// addFile notes an event of a file that has no directory.
func (t *fanotifyTake) addFile(file []byte, mask uint64) {
	if t.files == nil {
		t.files = map[string]uint64{}
	}
	t.files[string(file)] |= mask
}

// maxReasonWait is the last of the pauses, each twice the one before, that wait for the
// event that explains a link count. A process that unlinks a file wakes us by the event
// of the count, and may be able to queue the other event only once we sleep.
const maxReasonWait = 64 * time.Millisecond

// findFiles finds out where files without a directory are. One that cannot be found is a
// loss.
func (t *fanotifyTake) findFiles() {
	left := t.tryFiles()
	for wait := 250 * time.Microsecond; left > 0 && wait <= maxReasonWait; wait *= 2 {
		time.Sleep(wait)
		t.read()
		left = t.tryFiles()
	}
	if left > 0 {
		t.loseFile(handles.ErrNoName)
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	clear(t.unexplained)
	if t.Drained {
		t.links.forget()
	}
}

// tryFiles looks for the files without a directory. It returns for how many the
// explaining event is still to come.
func (t *fanotifyTake) tryFiles() int {
	files := t.files
	t.files = nil
	var unexplained []string
	for file, mask := range files {
		dir, name, err := t.resolver.File(file)
		switch {
		case err != nil && mask == unix.FAN_ATTRIB:
			unexplained = append(unexplained, file)
		case err != nil:
			t.loseFile(err)
		case name != "":
			t.foundIn(dir).add([]byte(name)).happened(false, unix.IN_MODIFY)
		}
	}
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	for _, file := range unexplained {
		t.unexplained[file] = struct{}{}
	}
	return len(t.unexplained)
}

func (t *fanotifyTake) loseFile(err error) {
	t.Lost = "a file was changed by its handle alone, and cannot be found: " + err.Error()
}

// foundIn returns the files that were found in a directory, by its path.
func (t *fanotifyTake) foundIn(dir string) *merger {
	m := t.found[dir]
	if m == nil {
		m = new(merger)
		if t.found == nil {
			t.found = map[string]*merger{}
		}
		t.found[dir] = m
	}
	return m
}

// finish finds out where the directories are.
func (t *fanotifyTake) finish() Events {
	for _, dir := range t.order {
		m := t.heard[dir]
		path, ok, err := t.resolver.Dir(dir)
		if err != nil {
			t.Lost = err.Error()
		}
		if !ok {
			continue
		}
		if found := t.found[path]; found != nil {
			for _, e := range found.Entries {
				m.add([]byte(e.Name)).happened(false, unix.IN_MODIFY)
			}
			delete(t.found, path)
		}
		m.Path = path
		t.Dirs = append(t.Dirs, &m.DirEvents)
	}
	for path, m := range t.found {
		m.Path = path
		t.Dirs = append(t.Dirs, &m.DirEvents)
	}
	if t.removed {
		t.resolver.ReleaseRemoved() // guard: TestRemovedDirectoriesAreLetGo
	}
	return t.Events
}
