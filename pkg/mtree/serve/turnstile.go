package serve

import (
	"errors"
	"net"
	"net/http"
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
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

// errBusy says that others read as many large directories as may be read at
// once: 429.
var errBusy = errors.New("too many listings of large directories at once")

// passLarge lets a request read dir: at once, unless it is a large directory and
// such are being read already. leave must follow. Cost: fstat.
func (h *Handler) passLarge(r *http.Request, dir *disk.Dir) (leave func(), err error) {
	self, err := dir.Self()
	if err != nil || self.Size <= h.largeSize {
		return func() {}, err
	}
	leave, ok := h.large.enter(r)
	if !ok {
		return nil, errBusy
	}
	return leave, nil
}

// readDir reads the listing of the directory at path for a request that wants
// more than that, or several.
func (h *Handler) readDir(r *http.Request, lister *disk.Lister, path string) (mtree.Listing, error) {
	dir, err := h.openDir(path)
	if err != nil {
		return mtree.Listing{}, err
	}
	defer dir.Close()
	leave, err := h.passLarge(r, dir)
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
}
