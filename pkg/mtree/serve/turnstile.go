package serve

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
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
}

// A mirror has --jobs 8 requests under way by default. The listing of a large
// directory takes some 200 bytes an entry while it is made.
const (
	bulkMost      = 64
	bulkShare     = 16
	largeMost     = 4
	largeShare    = 2
	largePatience = 30 * time.Second
	largeSize     = 4 << 20 // bytes of a directory as stat tells them: about 100,000 names on ext4, 200,000 on tmpfs
)

func newTurnstile(most, share int) *turnstile {
	return &turnstile{by: map[string]int{}, most: most, share: share, left: make(chan struct{})}
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

// wait is enter that waits for its turn, errBusy if that does not come within patience.
func (t *turnstile) wait(r *http.Request) (leave func(), err error) {
	end := time.After(t.patience)
	for {
		t.mu.Lock()
		left := t.left
		t.mu.Unlock()
		if leave, ok := t.enter(r); ok {
			return leave, nil
		}
		if t.patience == 0 {
			return nil, errBusy
		}
		select {
		case <-left:
		case <-end:
			return nil, errBusy
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// errBusy says that others read as many large directories as may be read at
// once: 429.
var errBusy = errors.New("too many listings of large directories at once")

// readDir reads the listing of the directory at path for a request that wants
// more than that, or several.
func (h *Handler) readDir(r *http.Request, lister *disk.Lister, path string) (mtree.Listing, error) {
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
	return lister.Read(dir, path)
}

func (t *turnstile) leave(client string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.by[client]--; t.by[client] == 0 {
		delete(t.by, client)
	}
	close(t.left)
	t.left = make(chan struct{})
}
