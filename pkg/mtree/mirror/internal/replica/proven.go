package replica

import (
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// mostProven bounds how many directories are remembered as complete, about 100 bytes
// each. When there are more, all are forgotten.
const mostProven = 1 << 15

// proven remembers directories whose records were read and proved them complete, with
// the ctimes they had then: whatever changes in a directory also changes its ctime, even
// its record in an extended attribute. If a directory with a hundred directories changes
// again and again, the record of each of these is read once (open, statx, getxattr and
// close), and not after every change. The zero value remembers none. Several goroutines
// may use it.
type proven struct {
	mu     sync.Mutex
	byPath map[string]proof
}

// proof is what a directory looked like when it was complete.
type proof struct {
	stamp mtree.Stamp // of the record: it is exact even if the file system's times are coarse
	ctime mtree.Stamp
}

// add remembers a directory as complete.
func (m *proven) add(path string, r records.Record, info disk.Info) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byPath == nil || len(m.byPath) >= mostProven {
		m.byPath = map[string]proof{}
	}
	m.byPath[path] = proof{r.Stamp, info.CTime}
}

// has reports whether the directory whose entry is have was complete with this stamp and
// has not changed since.
func (m *proven) has(path string, stamp mtree.Stamp, have *mtree.Entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.byPath[path]
	return ok && have.Has&mtree.HasCTime != 0 && p == proof{stamp, have.CTime}
}

// forget must be called before the record of a directory is written: two changes within
// 4 ms may leave the same ctime.
func (m *proven) forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPath, path)
}
