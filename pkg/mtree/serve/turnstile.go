package serve

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/lister"
)

// turnstile bounds the requests under way that make work or take memory without
// bound: sums, tar streams, searches; listings of large directories. Others
// come and go freely.
type turnstile struct {
	mu       sync.Mutex
	all      int
	by       map[string]int // by client address
	most     int            // at once
	share    int            // at once for one client
	patience time.Duration  // how long wait waits
	left     chan struct{}  // closed when somebody leaves, then replaced
	places   map[*place]struct{}
}

// place is what a request has within a turnstile. One that waits for its client is
// taken from it when another waits for a place.
type place struct {
	client  string
	cut     func()       // ends the waiting for the client
	blocked atomic.Int64 // Unix nanoseconds since when it waits for its client; 0: it does not, or was cut
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
	largeSize     = 4 << 20 // bytes of a directory as stat tells them: about 100,000 names on ext4, 200,000 on tmpfs
)

func newTurnstile(most, share int) *turnstile {
	return &turnstile{by: map[string]int{}, most: most, share: share, left: make(chan struct{}), places: map[*place]struct{}{}}
}

// enter lets the request in, if it may; leave must follow then.
func (t *turnstile) enter(r *http.Request) (leave func(), ok bool) {
	return t.take(&place{client: clientOf(r)})
}

func clientOf(r *http.Request) string {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return client
}

func (t *turnstile) take(p *place) (leave func(), ok bool) {
	client := p.client
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all >= t.most || t.by[client] >= t.share {
		return nil, false
	}
	t.all++
	t.by[client]++
	t.places[p] = struct{}{}
	return sync.OnceFunc(func() { t.leave(p) }), true
}

// wait is enter that waits for its turn, errBusy if that does not come within patience.
func (t *turnstile) wait(r *http.Request, p *place) (leave func(), err error) {
	var end <-chan time.Time
	for {
		t.mu.Lock()
		left := t.left
		t.mu.Unlock()
		if leave, ok := t.take(p); ok {
			return leave, nil
		}
		if t.patience == 0 {
			return nil, errBusy
		}
		if end == nil {
			end = time.After(t.patience)
		}
		t.letGo(p.client)
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

// letGo ends the request that waits for its client the longest, for one of client that
// waits for a place: one of its own if it has its share.
func (t *turnstile) letGo(client string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.by[client] >= t.share
	if !own && t.all < t.most {
		return
	}
	var slowest *place
	since := time.Now().Add(-slowGrace).UnixNano()
	for p := range t.places {
		if at := p.blocked.Load(); at != 0 && at < since && (p.client == client || !own) {
			slowest, since = p, at
		}
	}
	if slowest != nil {
		slowest.blocked.Store(0)
		slowest.cut()
	}
}

// errBusy says that others read as many large directories as may be read at
// once: 429.
var errBusy = errors.New("too many listings of large directories at once")

// readDir reads the listing of the directory at path for a request that wants
// more than that, or several.
func (h *Handler) readDir(r *http.Request, reader *lister.Lister, path string) (mtree.Listing, error) {
	dir, err := h.openDir(path)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer dir.Close()
	self, err := dir.Self()
	if err != nil {
		return mtree.Listing{}, err
	}
	leave, err := h.passLarge(r, self.Size)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer leave()
	return reader.Read(dir, path)
}

func (t *turnstile) leave(p *place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.places, p)
	t.all--
	if t.by[p.client]--; t.by[p.client] == 0 {
		delete(t.by, p.client)
	}
	close(t.left)
	t.left = make(chan struct{})
}
