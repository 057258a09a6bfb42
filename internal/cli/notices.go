package cli

import (
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// noticeGrace is how long a program waits at its end until its last notices are sent.
const noticeGrace = 500 * time.Millisecond

// notices sends notices to the service manager, in order. A goroutine sends them: the
// manager's socket holds a few datagrams only, and sending blocks while it is full. Of
// several statuses that wait one after another it keeps the last only. The zero value
// is ready.
type notices struct {
	mu      sync.Mutex
	waiting []string
	sending chan struct{} // closed when all are sent; nil: nobody is sending
}

// statusNotice is the beginning of a notice that gives the status in words.
const statusNotice = "STATUS="

// tell queues a notice.
func (n *notices) tell(notice string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.waiting) - 1
	if last >= 0 && strings.HasPrefix(notice, statusNotice) && strings.HasPrefix(n.waiting[last], statusNotice) {
		n.waiting[last] = notice
		return
	}
	n.waiting = append(n.waiting, notice)
	if n.sending == nil {
		n.sending = make(chan struct{})
		go n.send(n.sending)
	}
}

// send sends all that waits, and closes done.
func (n *notices) send(done chan<- struct{}) {
	defer close(done)
	for {
		n.mu.Lock()
		if len(n.waiting) == 0 {
			n.sending = nil
			n.mu.Unlock()
			return
		}
		next := n.waiting[0]
		n.waiting = n.waiting[1:]
		n.mu.Unlock()
		_, _ = daemon.SdNotify(false, next)
	}
}

// end waits until all are sent, at most noticeGrace.
func (n *notices) end() {
	n.mu.Lock()
	sending := n.sending
	n.mu.Unlock()
	if sending == nil {
		return
	}
	select {
	case <-sending:
	case <-time.After(noticeGrace):
	}
}
