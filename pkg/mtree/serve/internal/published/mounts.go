package published

import (
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
)

// maxNamed is how many mount points are named in the log; a tree with more has them on
// purpose.
const maxNamed = 100

// mounts remembers the mount points that are passed over because another file system is
// there, to count and name each once.
type mounts struct {
	log   *slog.Logger
	count *atomic.Int64 // nil: not counted

	mu   sync.Mutex
	seen map[string]bool
}

// pass is called each time the mount point at path is passed over.
func (m *mounts) pass(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[path] || len(m.seen) >= maxNamed {
		return
	}
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	m.seen[path] = true
	if m.count != nil {
		m.count.Store(int64(len(m.seen)))
	}
	m.log.Warn("what is on another file system is not published; see --cross-mounts", "path", strconv.Quote(path),
		"remedy", "to publish it, start watch and serve with --cross-mounts; to be told no more, --exclude it")
}
