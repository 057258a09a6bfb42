package serve

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree/serve/internal/changed"
)

// limiter bounds the number of running requests that make work or take memory without
// bound: sums, tar streams, searches; listings of large directories. Other requests do
// not pass a limiter. Many goroutines may use it at once.
type limiter struct {
	most     int           // requests at once
	share    int           // at once for one client
	patience time.Duration // how long enter waits; 0: it does not wait

	mu     sync.Mutex
	all    int
	by     map[string]int // by client address
	left   chan struct{}  // closed when a request leaves, then replaced
	places map[*place]struct{}
}

// place is the place of a request within a limiter. A request that waits for its client
// may lose its place to another request.
type place struct {
	client  string
	cut     func()       // ends the waiting for the client
	blocked atomic.Int64 // when it began to wait for its client, in Unix nanoseconds; 0: it does not wait, or was cut
}

// slowGrace is how long a client may take for a piece of 64 to 512 KiB while others
// wait for a place.
const slowGrace = 5 * time.Second

// A mirror has --jobs 8 requests under way by default. The listing of a large
// directory takes some 200 bytes an entry while it is made.
const (
	bulkMost      = 64
	bulkShare     = 16
	bulkPatience  = 10 * time.Second
	largeMost     = 4
	largeShare    = 2
	largePatience = 30 * time.Second
	largeSize     = 4 << 20 // bytes of a directory as stat returns them: about 100,000 names on ext4, 200,000 on tmpfs
)

// newLimiter returns a limiter whose enter does not wait.
func newLimiter(most, share int) *limiter {
	return &limiter{by: map[string]int{}, most: most, share: share, left: make(chan struct{}), places: map[*place]struct{}{}}
}

// errBusy says that all places of a limiter are taken, or that the client has its share.
// An answer to ?since that has begun is cut there.
var errBusy = changed.ErrBusy

// enter gives p to a request; leave must follow. It waits up to patience for the place,
// and returns errBusy if there is none by then.
func (l *limiter) enter(r *http.Request, p *place) (leave func(), err error) {
	var end <-chan time.Time
	for {
		l.mu.Lock()
		left := l.left
		l.mu.Unlock()
		if leave, ok := l.tryEnter(p); ok {
			return leave, nil
		}
		if l.patience == 0 {
			return nil, errBusy
		}
		if end == nil {
			end = time.After(l.patience)
		}
		l.cutSlowest(p.client)
		select {
		case <-left:
		case <-time.After(slowGrace / 20):
		case <-end:
			return nil, errBusy
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// tryEnter does what enter does, and does not wait.
func (l *limiter) tryEnter(p *place) (leave func(), ok bool) {
	client := p.client
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.by[client] >= l.share {
		return nil, false
	}
	l.all++
	l.by[client]++
	l.places[p] = struct{}{}
	return sync.OnceFunc(func() { l.leave(p) }), true
}

// cutSlowest makes room for a request of client: it ends the request that has waited
// longest for its own client. If client has its share already, that is one of its
// requests.
func (l *limiter) cutSlowest(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.by[client] >= l.share
	if !own && l.all < l.most {
		return
	}
	var slowest *place
	since := time.Now().Add(-slowGrace).UnixNano()
	for p := range l.places {
		if at := p.blocked.Load(); at != 0 && at < since && (p.client == client || !own) {
			slowest, since = p, at
		}
	}
	if slowest != nil {
		slowest.blocked.Store(0)
		slowest.cut()
	}
}

func (l *limiter) leave(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.places, p)
	l.all--
	if l.by[p.client]--; l.by[p.client] == 0 {
		delete(l.by, p.client)
	}
	close(l.left)
	l.left = make(chan struct{})
}

// clientOf returns the address of a client, without the port.
func clientOf(r *http.Request) string {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return client
}
