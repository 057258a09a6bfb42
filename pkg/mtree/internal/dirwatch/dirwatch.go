package dirwatch

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/sys"
)

// Watch hears changes of single directories with one inotify instance. Add, Remove and
// Next may be called at the same time, Next by one goroutine only.
type Watch struct {
	file *os.File // non-blocking, so that Close ends a Next
}

// Event says that something happened to a directory.
type Event struct {
	ID   int32 // as Add returned it
	Self bool  // it happened to the directory's own times or name, not to an entry
	Lost bool  // events were lost: anything may have changed; ID is -1
}

// Hearing says which changes of a directory are heard.
type Hearing bool

// What can be heard.
const (
	OwnTimes  Hearing = false // somebody sets its own times: enough where a program keeps stamps
	AnyChange Hearing = true  // also changes of its entries
)

// New makes an inotify instance. If the user has no more of them, the error names the
// sysctl.
func New() (*Watch, error) {
	fd, err := sys.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == unix.EMFILE {
		return nil, limit.NoInstance()
	}
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	return &Watch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add begins to hear d, or changes what is heard of it, and returns an id that is the
// same for the same directory. d may be closed afterwards. If the user has no more
// watches, the error names the sysctl. Without /proc d is found by its path. System calls:
// inotify_add_watch.
func (w *Watch) Add(d *disk.Dir, what Hearing) (id int32, err error) {
	// Setting the mtime alone is IN_MODIFY to the kernel; together with the atime, as
	// SetTime does, it is IN_ATTRIB (fsnotify_change).
	const own = unix.IN_ATTRIB | unix.IN_MODIFY | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	const entries = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE
	mask := uint32(own)
	if what == AnyChange {
		mask |= entries
	}
	// By descriptor, so that the directory that is heard is the one that was looked at.
	id, err = w.add(sys.FDPath(d.FD()), mask)
	if err == unix.ENOENT && sys.ThroughProc(d.FD()) != nil { // guard: TestAddWithoutProc
		id, err = w.addByPath(d, mask)
	}
	if err == unix.ENOSPC {
		err = limit.NoWatch(0)
	}
	if err != nil {
		return 0, &fs.PathError{Op: "inotify_add_watch", Path: d.Path(), Err: err}
	}
	return id, nil
}

// addByPath is add without /proc: it fails with sys.ErrNoProc where the path of d leads to
// another directory by now, or to none.
func (w *Watch) addByPath(d *disk.Dir, mask uint32) (id int32, err error) {
	if id, err = w.add(d.Path(), mask); err == unix.ENOSPC {
		return 0, err
	} else if err != nil {
		return 0, sys.ErrNoProc
	}
	if d.StillAt(d.Path()) != nil { // guard: TestHearingWithoutProc
		w.Remove(id)
		return 0, sys.ErrNoProc
	}
	return id, nil
}

// add sets a watch by path.
func (w *Watch) add(path string, mask uint32) (id int32, err error) {
	err = w.control(func(fd int) error {
		wd, err := sys.InotifyAddWatch(fd, path, mask)
		id = int32(wd)
		return err
	})
	return id, err
}

// Remove stops hearing a directory. Next may still return events that happened before.
func (w *Watch) Remove(id int32) {
	_ = w.control(func(fd int) error {
		_, err := sys.InotifyRmWatch(fd, uint32(id))
		return err // it may be gone already, with its directory
	})
}

func (w *Watch) control(call func(fd int) error) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = call(int(fd)) }); err != nil {
		return err
	}
	return callErr
}

// Next waits for events and appends them to dst. After Close it returns
// fs.ErrClosed.
func (w *Watch) Next(dst []Event) ([]Event, error) {
	var buf [4096]byte
	n, err := w.file.Read(buf[:])
	if err != nil {
		return dst, err
	}
	for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
		// struct inotify_event: wd s32, mask u32, cookie u32, len u32, name.
		mask := binary.NativeEndian.Uint32(rest[4:])
		nameLength := binary.NativeEndian.Uint32(rest[12:])
		event := Event{
			ID:   int32(binary.NativeEndian.Uint32(rest)),
			Self: nameLength == 0,
			Lost: mask&unix.IN_Q_OVERFLOW != 0,
		}
		if mask&unix.IN_IGNORED == 0 {
			dst = append(dst, event)
		}
		rest = rest[unix.SizeofInotifyEvent+int(nameLength):]
	}
	return dst, nil
}

// WakeAt makes a Next that waits at that time return os.ErrDeadlineExceeded.
func (w *Watch) WakeAt(t time.Time) error { return w.file.SetReadDeadline(t) }

// Close ends the Watch, and a Next that waits.
func (w *Watch) Close() error { return w.file.Close() }
