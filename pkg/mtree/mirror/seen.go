package mirror

import (
	"sync"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
)

// seen remembers at which ctime files were fetched or compared by sums, so that
// the ctime rule does not look at all recent files of a busy directory with
// every change in it. The zero value is empty; it may be used by several
// goroutines at once.
type seen struct {
	mu    sync.Mutex
	files map[string]sight
}

// sight is one file's bytes, known at a ctime.
type sight struct {
	ctime mtree.Stamp
	final bool // known when the ctime was more than plan.CTimeSlack old
}

// seenMost bounds the memory, about 10 MB. Beyond it all is forgotten, which
// costs sums and nothing else.
const seenMost = 50_000

// note records that the bytes of e, listed at now, are those of the copy.
func (s *seen) note(path string, e *mtree.Entry, now mtree.Stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil || len(s.files) >= seenMost {
		s.files = map[string]sight{}
	}
	s.files[path] = sight{e.CTime, now.Sub(e.CTime) > plan.CTimeSlack}
}

// settled reports whether e needs no sums: its bytes were known at this ctime
// once that was old. While it is young, a write that goes on may change them
// and leave size, mtime and ctime as they are; whether the directory is looked
// at again when the ctime is old, nobody knows. Cost: the recent files of a
// busy directory are summed with every change in it, for ten seconds each.
func (s *seen) settled(path string, e *mtree.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.files[path]
	return ok && known.ctime == e.CTime && known.final
}

// sighted notes a file whose bytes are known, if its ctime would make it
// suspicious at the next visit.
func (p *pass) sighted(n *node, e *mtree.Entry) {
	decided := n.record.Now
	if n.had {
		decided = n.before.Now
	}
	if e.Has&mtree.HasCTime != 0 && e.CTime.After(decided.Add(-plan.CTimeSlack)) {
		p.work.seen.note(mtree.JoinPath(n.path, e.Name), e, n.record.Now)
	}
}
