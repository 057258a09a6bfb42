package serve

import (
	"hash/maphash"
	"sync"
)

// linkless remembers directories that were read and had no symlinks. Of those,
// and as text of all, the stamp proves every format: the formats that follow
// symlinks show what those lead to, and that changes without this stamp. What
// is not remembered is read before anything is answered by its stamp.
//
// It holds 8 bytes for each of the last maxLinkless to twice as many
// directories, by path, node, mtime and ctime, hashed with a secret seed: a
// chance of 1 in 10^14 that any two are taken for each other. It may be used by
// many goroutines at once.
type linkless struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old map[uint64]struct{} // young is filled; then it becomes old
}

// maxLinkless bounds one generation: 64 Ki directories, some 2 MB of memory.
const maxLinkless = 64 << 10

// linklessKey names one directory at one time.
type linklessKey struct {
	path string
	time pageTime
}

func newLinkless() *linkless {
	return &linkless{seed: maphash.MakeSeed(), young: map[uint64]struct{}{}}
}

func (l *linkless) learn(v *view) {
	hash := maphash.Comparable(l.seed, linklessKey{v.path, v.time()})
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.young) >= maxLinkless {
		l.young, l.old = map[uint64]struct{}{}, l.young
	}
	l.young[hash] = struct{}{}
}

func (l *linkless) knows(v *view) bool {
	hash := maphash.Comparable(l.seed, linklessKey{v.path, v.time()})
	l.mu.Lock()
	defer l.mu.Unlock()
	_, young := l.young[hash]
	_, old := l.old[hash]
	return young || old
}
