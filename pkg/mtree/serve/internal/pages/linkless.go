package pages

import (
	"hash/maphash"
	"sync"
)

// Linkless remembers directories that were read and had no symlinks. The stamp of such a
// directory proves its listing in every format. The stamp of any other proves only the
// text: the other formats show what symlinks lead to, which may change while this stamp
// stays. A directory that is not remembered is read before anything is answered by its
// stamp.
//
// For each of the last directories, from maxLinkless to twice that many, it holds 8
// bytes: path, node, mtime and ctime, hashed with a secret seed. The chance that any two
// are taken for each other is 1 in 10^14.
type Linkless struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old map[uint64]struct{} // young is filled; then it becomes old
}

// maxLinkless bounds one generation: 64 Ki directories, some 2 MB of memory.
const maxLinkless = 64 << 10

// linklessKey identifies one directory at one time.
type linklessKey struct {
	path string
	time Time
}

// NewLinkless returns a Linkless that knows no directory.
func NewLinkless() *Linkless {
	return &Linkless{seed: maphash.MakeSeed(), young: map[uint64]struct{}{}}
}

// Learn remembers the directory at path as it was at this time.
func (l *Linkless) Learn(path string, time Time) {
	hash := maphash.Comparable(l.seed, linklessKey{path, time})
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.young) >= maxLinkless {
		l.young, l.old = map[uint64]struct{}{}, l.young
	}
	l.young[hash] = struct{}{}
}

// Knows reports whether the directory at path is remembered as it is at this time.
func (l *Linkless) Knows(path string, time Time) bool {
	hash := maphash.Comparable(l.seed, linklessKey{path, time})
	l.mu.Lock()
	defer l.mu.Unlock()
	_, young := l.young[hash]
	_, old := l.old[hash]
	return young || old
}
