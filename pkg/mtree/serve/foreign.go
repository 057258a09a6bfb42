package serve

import (
	"strconv"
	"sync"
)

// maxForeign is how many mount points are named in the
// log; a tree with more has them on purpose.
const maxForeign = 100

// foreign remembers the mount points passed over because what is there is on
// another file system, to count and name each once.
type foreign struct {
	cfg  *Config
	mu   sync.Mutex
	seen map[string]bool
}

// pass is told of each such path, again and again.
func (f *foreign) pass(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[path] || len(f.seen) >= maxForeign {
		return
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[path] = true
	f.cfg.Stats.Foreign.Store(int64(len(f.seen)))
	f.cfg.Log.Warn("what is on another file system is not published; see --cross-mounts", "path", strconv.Quote(path))
}
