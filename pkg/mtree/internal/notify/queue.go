package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/limit"
	"tidemark/pkg/mtree/internal/sys"
)

// Bounds of the events that wait to be taken, in bytes. Beyond softCap
// only the directory of a changed file is kept; beyond hardCap events are lost.
const (
	readSize = 64 << 10
	softCap  = 4 << 20 // some 50,000 events
	hardCap  = 32 << 20
)

// The reader leaves the kernel's queue alone for a while after it read what was there:
// each wake-up costs ten times what an event costs, and take reads the rest. A kernel
// makes up to a million events a second. The pause is a quarter of the time in which
// these fill the queue, and shorter than the time in which a batch settles.
const (
	maxPause     = 4 * time.Millisecond // at 16,384 events, the usual limit
	pauseAnEvent = time.Microsecond / 4
)

// failPause is how long nobody tries again after the queue could not be read: each failure
// is a loss, and leads to an audit.
const failPause = 200 * time.Millisecond

// takeReads bounds how often take reads: somebody may write faster than we read.
const takeReads = 64

// queue drains a kernel queue into memory, by a goroutine that does nothing else: the
// kernel's queue is short, and its overflow costs a scan of the tree.
type queue struct {
	file     *os.File // the kernel's queue, non-blocking
	fd       int      // in a simulation: its descriptor, instead of file and alarm
	alarm    *os.File // readable when file is, once each time it is set
	wake     chan<- struct{}
	filter   func(events []byte) []byte      // drops events that are not needed, in place, under mu; nil: none
	compress func(dst, events []byte) []byte // appends the part of events that must be kept, under mu
	soft     int                             // bytes beyond which events are compressed
	hard     int                             // bytes beyond which they are lost
	room     int                             // own writes after which wrote empties the kernel's queue
	pause    time.Duration                   // of the reader between reads
	done     chan struct{}
	closing  atomic.Bool

	writes int // since wrote emptied it; used by the writer only

	mu      sys.Mutex
	scratch [readSize]byte
	buf     []byte // events read and not yet taken
	spare   []byte
	lost    string
	failed  time.Time // when the last read failed; zero: it did not
	news    bool      // something was added since the last signal
}

// start begins to drain fd, which q owns from now on. It holds as many events as the
// sysctl bound says. wake is sent to, without waiting, after each read.
//
// The reader waits on an epoll instance around the queue (EPOLLONESHOT), not on the
// queue: while it pauses, no event may wake the runtime's poller, which would wake for
// each one.
func (q *queue) start(fd int, name, bound string, wake chan<- struct{}) error {
	q.wake, q.done = wake, make(chan struct{})
	q.room = max(1, limit.Of(bound)/eventsPerWrite/4)
	q.pause = min(maxPause, time.Duration(limit.Of(bound))*pauseAnEvent)
	if q.soft == 0 {
		q.soft, q.hard = softCap, hardCap
	}
	if err := q.open(fd, name); err != nil {
		return err
	}
	go q.drain()
	return nil
}

// open makes files of the queue, which the poller does not know, and of its alarm.
func (q *queue) open(fd int, name string) error {
	if q.fd = fd; sys.Simulated() != nil {
		return nil
	}
	err := unix.SetNonblock(fd, false) // else os.NewFile would give it to the poller
	q.file = os.NewFile(uintptr(fd), name)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	alarm := -1
	if err == nil {
		alarm, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err != nil {
		_ = q.file.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	err = unix.SetNonblock(alarm, true)
	q.alarm = os.NewFile(uintptr(alarm), name+" alarm")
	if err == nil {
		err = unix.EpollCtl(alarm, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Fd: int32(fd)})
	}
	if err != nil {
		return fmt.Errorf("epoll: %w", errors.Join(err, q.alarm.Close(), q.file.Close()))
	}
	return nil
}

// drain is the goroutine that reads.
func (q *queue) drain() {
	defer close(q.done)
	for {
		q.mu.Lock()
		read := q.read()
		q.mu.Unlock()
		q.signal()
		switch {
		case read == 0:
			if err := q.wait(); q.closing.Load() || err != nil && sys.Simulated() != nil {
				return
			} else if err != nil {
				q.fail(err) // a reader that ends without a word leaves a watcher deaf that says "watched"
				time.Sleep(failPause)
			}
		case read == readFailed:
			time.Sleep(failPause)
		case read < readSize/2:
			time.Sleep(q.pause)
		}
	}
}

// fail counts it as a loss that the queue cannot be waited for.
func (q *queue) fail(err error) {
	q.mu.Lock()
	q.lost, q.news = "waiting for events: "+err.Error(), true
	q.mu.Unlock()
	q.signal()
}

// wait returns when the queue is readable, or an error when it was closed.
func (q *queue) wait() error {
	if k := sys.Simulated(); k != nil {
		return k.Await(q.fd)
	}
	set := control(q.file, func(fd int) error {
		return control(q.alarm, func(alarm int) error {
			return unix.EpollCtl(alarm, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
		})
	})
	if set != nil {
		return set
	}
	conn, err := q.alarm.SyscallConn()
	if err != nil {
		return err
	}
	// The function runs when the alarm may be readable. False makes Read wait for that.
	return conn.Read(func(alarm uintptr) bool {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(alarm), events[:], 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// signal wakes the taker if there is something new.
func (q *queue) signal() {
	q.mu.Lock()
	news := q.news
	q.news = false
	q.mu.Unlock()
	if !news {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// eventsPerWrite is how many events one directory time set by us causes: the
// directory's own, and its parent's.
const eventsPerWrite = 2

// wrote is called by the writer after each directory time that it set. Its own events
// must not fill the queue while the reader has no processor: the audit after such a loss
// would write as much again, and so on.
func (q *queue) wrote() {
	if q.writes++; q.writes < q.room {
		return
	}
	q.writes = 0
	q.mu.Lock()
	q.read()
	q.mu.Unlock()
	q.signal()
}

// readNow is read(2) of a descriptor that does not block. The runtime does not know of
// the call; else it would start another thread for one of more than 20 µs.
func readNow(fd int, buf []byte) (int, syscall.Errno) {
	if sys.Simulated() != nil {
		n, err := sys.Read(fd, buf)
		if err != nil {
			return 0, unix.EAGAIN // maybe it was closed: wait says so
		}
		return n, 0
	}
	for {
		n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// read is pull with the descriptor of the file.
func (q *queue) read() (read int) {
	_ = q.control(func(fd int) error { // an error: closed, and there is nothing to read
		read = q.pull(fd)
		return nil
	})
	return read
}

// readFailed is what pull returns if it could not read.
const readFailed = -1

// pull reads once and returns how many bytes, 0 if nothing waits. mu is held, and read and
// append are one step under it. So a caller who holds mu and finds both the kernel's queue
// and buf empty knows that no event is between them.
func (q *queue) pull(fd int) (read int) {
	n, err := readNow(fd, q.scratch[:])
	switch err {
	case 0:
		q.failed = time.Time{}
	case unix.EAGAIN:
		q.failed = time.Time{}
		return 0
	default:
		q.lost, q.news, q.failed = "reading events: "+err.Error(), true, time.Now()
		return readFailed
	}
	events := q.scratch[:n]
	if q.filter != nil {
		if events = q.filter(events); len(events) == 0 {
			return n
		}
	}
	q.news = true
	switch {
	case len(q.buf) < q.soft:
		q.buf = append(q.buf, events...)
	case len(q.buf) < q.hard:
		q.buf = q.compress(q.buf, events)
	default:
		q.lost = "more events than memory allows"
	}
	return n
}

// take reads the waiting events and swaps them out. drained says that the kernel held
// nothing more. The slice is valid until the next call.
func (q *queue) take() (events []byte, lost string, drained bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range takeReads {
		if time.Since(q.failed) < failPause || q.read() <= 0 {
			break
		}
	}
	q.news = false
	events, q.buf = q.buf, q.spare[:0]
	if cap(events) <= readSize*16 {
		q.spare = events
	} else {
		q.spare = nil // the large buffer of a flood is not kept
	}
	lost, q.lost = q.lost, ""
	return events, lost, q.failed.IsZero() && q.waiting() == 0
}

// peek reads the waiting events and shows them, without taking them. whole says that these
// are all, that they are no more than most bytes, and that nothing was lost; else nothing
// is shown. mu is held meanwhile, and the slice is valid until look returns.
func (q *queue) peek(most int, look func(events []byte)) (whole bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range takeReads {
		if len(q.buf) > most || time.Since(q.failed) < failPause || q.read() <= 0 {
			break
		}
	}
	if len(q.buf) > most || q.lost != "" || !q.failed.IsZero() || q.waiting() != 0 {
		return false
	}
	look(q.buf)
	return true
}

// waiting returns how many bytes the kernel holds, -1 if it does not say.
func (q *queue) waiting() int {
	waiting := -1
	_ = q.control(func(fd int) error {
		n, err := sys.Waiting(fd)
		if err == nil {
			waiting = n
		}
		return err
	})
	return waiting
}

// close ends the draining.
func (q *queue) close() error {
	q.closing.Store(true)
	if sys.Simulated() != nil {
		err := sys.Close(q.fd)
		<-q.done
		return err
	}
	err := errors.Join(q.alarm.Close(), q.file.Close())
	<-q.done
	return err
}

// control calls with the descriptor of the kernel's queue.
func (q *queue) control(call func(fd int) error) error {
	if sys.Simulated() != nil {
		return call(q.fd)
	}
	return control(q.file, call)
}

// control calls with the descriptor of file, which stays open meanwhile.
func control(file *os.File, call func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := conn.Control(func(fd uintptr) { callErr = call(int(fd)) }); err != nil {
		return err
	}
	return callErr
}

// untilNUL returns the bytes before the first NUL.
func untilNUL(b []byte) []byte {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		return b[:end]
	}
	return b
}
