package sys

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Flock is flock(2).
func Flock(fd, how int) error {
	if kernel != nil {
		return kernel.Flock(fd, how)
	}
	return again(func() error { return unix.Flock(fd, how) })
}

// FcntlFlock is fcntl(2) with a lock.
func FcntlFlock(fd uintptr, cmd int, lock *unix.Flock_t) (err error) {
	if kernel != nil {
		*lock, err = kernel.FcntlFlock(fd, cmd, *lock)
		return err
	}
	return again(func() error { return unix.FcntlFlock(fd, cmd, lock) })
}

// FcntlInt is fcntl(2) with a number.
func FcntlInt(fd uintptr, cmd, arg int) (int, error) {
	if kernel != nil {
		return kernel.FcntlInt(fd, cmd, arg)
	}
	return countAgain(func() (int, error) { return unix.FcntlInt(fd, cmd, arg) })
}

// Mutex is a sync.Mutex that may be held during system calls. In a simulation these wait
// for their turn, and whoever waits for a sync.Mutex meanwhile would look as if it ran
// (package testing/synctest). So there it is a channel.
type Mutex struct {
	mu   sync.Mutex
	gate chan struct{} // in a simulation: full while it is locked
}

// Lock locks m.
func (m *Mutex) Lock() {
	m.mu.Lock()
	if kernel == nil {
		return
	}
	if m.gate == nil {
		m.gate = make(chan struct{}, 1)
	}
	m.mu.Unlock()
	select {
	case m.gate <- struct{}{}:
	default:
		m.gate <- struct{}{}
		kernel.Turn("locked")
	}
}

// Unlock unlocks m.
func (m *Mutex) Unlock() {
	if m.gate != nil {
		<-m.gate
		return
	}
	m.mu.Unlock()
}
