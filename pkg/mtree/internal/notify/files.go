package notify

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/sys"
)

// fileMask is what is heard of a file.
const fileMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DONT_FOLLOW

// Files hears files that are mounted in a tree by themselves (mount --bind FILE FILE). The kernel reports
// writes to such a file in the directory that it was mounted from, which may be in no tree. So each has an
// inotify watch of its own, by which it is heard whatever name it is written by. One goroutine uses it.
type Files struct {
	wake  chan<- struct{}
	queue *queue // nil: no file was mounted so far
	many  bool   // more waited than memory allows: all may have changed; under queue.mu
	armed map[string]int32
}

// NewFiles returns a Files that hears nothing yet. wake is sent to, without waiting, when there is something
// to take.
func NewFiles(wake chan<- struct{}) *Files { return &Files{wake: wake, armed: map[string]int32{}} }

// Arm hears the file that is mounted at a path of the tree, as name in the directory open as parent. What
// was armed at this path before is heard at it no more. It must be called before the file is looked at.
// ErrGone: nothing is there. ErrLimit: the kernel allows no more, see its text for the remedy.
func (f *Files) Arm(path string, parent int, name string) error {
	if f.queue == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	var wd int
	err := f.queue.control(func(queue int) (err error) {
		wd, err = sys.InotifyAddWatch(queue, sys.FDPath(parent)+"/"+name, fileMask)
		return err
	})
	switch {
	case err == unix.ENOSPC:
		err = limit.NoWatch(len(f.armed))
	case err == unix.ENOENT:
		err = ErrGone
	case err != nil:
		err = fmt.Errorf("inotify_add_watch: %w", err)
	}
	if was, had := f.armed[path]; err != nil || had && was != int32(wd) { // guard (without had && was): TestFiles
		f.Drop(path)
	}
	if err == nil {
		f.armed[path] = int32(wd)
	}
	return err
}

// open makes the kernel's queue.
func (f *Files) open() error {
	fd, err := sys.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == unix.EMFILE {
		return limit.NoInstance()
	}
	if err != nil {
		return fmt.Errorf("inotify_init1: %w", err)
	}
	q := &queue{compress: func(dst, _ []byte) []byte {
		f.many = true
		return dst
	}}
	if err := q.start(fd, "inotify of files", limit.InotifyQueue, f.wake); err != nil {
		return err
	}
	f.queue = q
	return nil
}

// Armed returns the paths of the files that are heard, in order.
func (f *Files) Armed() []string { return slices.Sorted(maps.Keys(f.armed)) }

// Drop gives up the file at a path.
func (f *Files) Drop(path string) {
	wd, had := f.armed[path]
	delete(f.armed, path)
	if !had || slices.Contains(slices.Collect(maps.Values(f.armed)), wd) { // guard (without slices): TestFiles
		return
	}
	_ = f.queue.control(func(queue int) error {
		_, err := sys.InotifyRmWatch(queue, uint32(wd))
		return err // it may be gone already, with its file
	})
}

// Take returns the paths of the files that changed since the last call, without waiting, in order. drained
// says that the kernel held nothing more.
func (f *Files) Take() (paths []string, drained bool) {
	if f.queue == nil {
		return nil, true
	}
	events, lost, drained := f.queue.take()
	f.queue.mu.Lock()
	many := f.many || lost != ""
	f.many = false
	f.queue.mu.Unlock()
	changed := map[int32]bool{}
	for len(events) >= unix.SizeofInotifyEvent {
		e, size := nextEvent(events)
		many = many || e.mask&unix.IN_Q_OVERFLOW != 0
		if e.mask&unix.IN_IGNORED == 0 { // guard: TestFiles
			changed[e.wd] = true
		}
		events = events[size:]
	}
	for path, wd := range f.armed {
		if many || changed[wd] {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, drained
}

// Close ends the hearing.
func (f *Files) Close() error {
	if f.queue == nil {
		return nil
	}
	return f.queue.close()
}
