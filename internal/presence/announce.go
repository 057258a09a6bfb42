package presence

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"time"
)

// prefix begins the names of all sockets of this package. The first byte stands for the NUL with which an
// abstract name begins.
const prefix = "@tidemark/"

// patience is how long one end waits for the other.
const patience = time.Second

// Announcement is a program that can be found.
type Announcement struct {
	listener *net.UnixListener
	done     chan struct{}
	once     sync.Once
}

// Announce makes this process one of those that Find finds under name, until it ends or Close is called.
// answer is called for each who asks, one at a time.
func Announce(name string, answer func() []byte) (*Announcement, error) {
	own := make([]byte, 8)
	_, _ = rand.Read(own) // never fails
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: prefix + name + "/" + hex.EncodeToString(own), Net: "unix"})
	if err != nil {
		return nil, err
	}
	a := &Announcement{listener: l, done: make(chan struct{})}
	go a.serve(answer)
	return a, nil
}

// Close takes the announcement back.
func (a *Announcement) Close() {
	a.once.Do(func() { _ = a.listener.Close() })
	<-a.done
}

// serve answers until the listener is closed.
func (a *Announcement) serve(answer func() []byte) {
	defer close(a.done)
	for {
		conn, err := a.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(patience) // no descriptor is left, for example
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write(answer())
		_ = conn.Close()
	}
}
