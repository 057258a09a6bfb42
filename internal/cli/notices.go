package cli

import (
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// noticeGrace is how long the end of a program waits for its last notices.
const noticeGrace = 500 * time.Millisecond

// notices tells the service manager what the program tells it, in order. A goroutine
// sends: the manager's socket holds some datagrams only, and to send blocks while it
// is full. Of statuses that wait one behind the other only the last is kept. The zero
// value is ready.
type notices struct {
	mu      sync.Mutex
	waiting []string
	sending chan struct{} // closed when all are sent; nil: nothing is under way
}

const statusNotice = "STATUS="

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

// end waits a while until all are sent.
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
