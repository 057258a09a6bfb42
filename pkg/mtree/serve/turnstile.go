package serve

import (
	"net"
	"net/http"
	"sync"
)

// turnstile bounds the requests under way that make work or take memory without
// bound: sums, tar streams, searches; listings of large directories. Others
// come and go freely.
type turnstile struct {
	mu    sync.Mutex
	all   int
	by    map[string]int // by client address
	most  int            // at once
	share int            // at once for one client
}

// A mirror has --jobs 8 requests under way by default. The listing of a large
// directory takes some 200 bytes an entry while it is sent.
const (
	bulkMost   = 64
	bulkShare  = 16
	largeMost  = 4
	largeShare = 2
	largeSize  = 4 << 20 // bytes of a directory as stat tells them: about 100,000 names on ext4, 200,000 on tmpfs
)

func newTurnstile(most, share int) *turnstile {
	return &turnstile{by: map[string]int{}, most: most, share: share}
}

// enter lets the request in, if it may; leave must follow then.
func (t *turnstile) enter(r *http.Request) (leave func(), ok bool) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all >= t.most || t.by[client] >= t.share {
		return nil, false
	}
	t.all++
	t.by[client]++
	return func() { t.leave(client) }, true
}

func (t *turnstile) leave(client string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.by[client]--; t.by[client] == 0 {
		delete(t.by, client)
	}
}
