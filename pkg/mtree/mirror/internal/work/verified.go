package work

import (
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// VerifiedFiles remembers at which ctime files were fetched or compared by their sums.
// Without it, every change in a busy directory would compare all its recent files
// again. The zero value is empty. Several goroutines may use it.
type VerifiedFiles struct {
	mu    sync.Mutex
	files map[string]verified
}

// verified says at which ctime the bytes of a file were known.
type verified struct {
	ctime mtree.Stamp
	final bool // the ctime was more than plan.CTimeSlack old then
}

// mostVerified bounds the memory, to about 10 MB. With more files everything is
// forgotten, which costs sums and nothing else.
const mostVerified = 50_000

// Add records that the copy has the bytes of the file e, which was listed at now.
func (s *VerifiedFiles) Add(path string, e *mtree.Entry, now mtree.Stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil || len(s.files) >= mostVerified {
		s.files = map[string]verified{}
	}
	s.files[path] = verified{e.CTime, now.Sub(e.CTime) > plan.CTimeSlack}
}

// Clear forgets everything.
func (s *VerifiedFiles) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = nil
}

// has reports whether the file e needs no sums: its bytes were known at this ctime when
// the ctime was old. While a ctime is young, an ongoing write may change bytes and leave
// size, mtime and ctime as they are. So for ten seconds, every change in a busy directory
// compares each of its recent files.
func (s *VerifiedFiles) has(path string, e *mtree.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.files[path]
	return ok && known.ctime == e.CTime && known.final // guard (without known.final): TestSimulatedGuards/compared_before
}
