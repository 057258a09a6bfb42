package notify

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bounds of what waits to be taken, in bytes of kernel events. Beyond softCap
// only the directory of a changed file is kept; beyond hardCap events are lost.
const (
	readSize = 64 << 10
	softCap  = 16 << 20
	hardCap  = 64 << 20
)

// queue drains a kernel queue into memory, by a goroutine that does nothing
// else: the kernel's queue is short and its overflow costs a scan of the tree.
type queue struct {
	file *os.File // non-blocking, so that Close ends the reader
	wake chan<- struct{}
	sift func(events []byte) []byte      // drops what nobody wants to know, in place, under mu; nil: nothing
	keep func(dst, events []byte) []byte // appends what must be kept of events, under mu
	soft int                             // bytes beyond which keep is asked
	hard int
	room int // own writes after which the kernel's queue is emptied: wrote
	done chan struct{}

	writes  int    // since it was; the writer's
	scratch []byte // the writer's

	mu    sync.Mutex
	buf   []byte // events read and not yet taken
	spare []byte
	lost  string
	news  bool // something was added since the last wake
}

// start begins to drain fd, which it owns from now on and which holds as many
// events as the sysctl says. wake is sent to, without waiting, after each read.
func (q *queue) start(fd int, name, limit string, wake chan<- struct{}) error {
	q.file, q.wake, q.done = os.NewFile(uintptr(fd), name), wake, make(chan struct{})
	q.room = max(1, sysctl(limit)/eventsPerWrite/4)
	if q.soft == 0 {
		q.soft, q.hard = softCap, hardCap
	}
	conn, err := q.file.SyscallConn()
	if err != nil {
		return err
	}
	go q.drain(conn)
	return nil
}

func (q *queue) drain(conn syscall.RawConn) {
	defer close(q.done)
	scratch := make([]byte, readSize)
	for {
		// pull runs with the descriptor readable; false waits for that.
		err := conn.Read(func(fd uintptr) bool { return q.pull(int(fd), scratch) })
		if err != nil {
			return // closed
		}
		q.tell()
	}
}

// tell wakes the taker if there is something new.
func (q *queue) tell() {
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

// wrote is called by the writer after each time it set. What it causes itself
// must not fill the queue while the reader has no processor: the audit that
// follows such a loss would write as much again, and so on.
func (q *queue) wrote() {
	if q.writes++; q.writes < q.room {
		return
	}
	q.writes = 0
	if q.scratch == nil {
		q.scratch = make([]byte, readSize)
	}
	_ = control(q.file, func(fd int) error {
		q.pull(fd, q.scratch)
		return nil
	})
	q.tell()
}

// pull reads once. Read and append are one step under mu: whoever holds mu and
// finds both the kernel's queue and buf empty knows that nothing is between.
func (q *queue) pull(fd int, scratch []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, err := unix.Read(fd, scratch)
	switch err {
	case nil:
	case unix.EINTR:
		return true
	case unix.EAGAIN:
		return false
	default:
		q.lost, q.news = "reading events: "+err.Error(), true
		return true
	}
	events := scratch[:n]
	if q.sift != nil {
		if events = q.sift(events); len(events) == 0 {
			return true
		}
	}
	q.news = true
	switch {
	case len(q.buf) < q.soft:
		q.buf = append(q.buf, events...)
	case len(q.buf) < q.hard:
		q.buf = q.keep(q.buf, events)
	default:
		q.lost = "more events than memory allows"
	}
	return true
}

// take swaps out what was read. drained says that the kernel held nothing more.
// The returned slice is valid until the next call.
func (q *queue) take() (events []byte, lost string, drained bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events, q.buf = q.buf, q.spare[:0]
	if cap(events) <= readSize*16 {
		q.spare = events
	} else {
		q.spare = nil // a flood's buffer is not kept for ever
	}
	lost, q.lost = q.lost, ""
	return events, lost, q.waiting() == 0
}

// waiting returns how many bytes the kernel holds, -1 if it does not tell.
func (q *queue) waiting() int {
	waiting := -1
	_ = control(q.file, func(fd int) error {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ) // FIONREAD by its other name
		if err == nil {
			waiting = n
		}
		return err
	})
	return waiting
}

func (q *queue) close() error {
	err := q.file.Close()
	<-q.done
	return err
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
