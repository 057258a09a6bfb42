package fetch

import (
	"sync"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// OldSums remembers the sums of the blocks of files that were put together: the next time they
// need not be read. It is known by its times that a file is still the one that was written. The zero
// value is empty, and so is nil. Several goroutines may use it.
type OldSums struct {
	mu    sync.Mutex
	files map[string]oldSums
	held  int // sums of all
}

// oldSums is what is known of one file.
type oldSums struct {
	info  disk.Info
	block int64
	sums  []source.Digest
}

// mostOldSums bounds the memory, to 8 MiB and the paths. With more everything is forgotten, which
// costs reading files and nothing else.
const mostOldSums = 256 << 10

// block returns the size of the blocks that are known of a file; 0: none are.
func (s *OldSums) block(path string) int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[path].block
}

// get returns the sums of the blocks of a file that looks so; nil if they are not known.
func (s *OldSums) get(path string, info *disk.Info, block int64) []source.Digest {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.files[path]
	if known.block != block || !sameVersion(&known.info, info) { // guard (without !sameVersion): TestKeptSumsOfAnotherVersion
		return nil
	}
	return known.sums
}

// put remembers the sums of a file; nil forgets it.
func (s *OldSums) put(path string, info disk.Info, block int64, sums []source.Digest) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= len(s.files[path].sums)
	delete(s.files, path)
	if len(sums) == 0 || len(sums) > mostOldSums {
		return
	}
	if s.files == nil || s.held+len(sums) > mostOldSums { // guard (without s.held+len(sums)): TestOldSumsAreBounded
		s.files, s.held = map[string]oldSums{}, 0
	}
	s.files[path] = oldSums{info, block, sums}
	s.held += len(sums)
}

// keep remembers the sums of a file that was written, and looks like now since it has its name. It
// returns false if it is another file, or was written to again.
func (s *OldSums) keep(path string, written, now *disk.Info, patch *source.Patch) bool {
	if now.Node != written.Node || now.Size != written.Size || now.MTime != written.MTime { // guard: TestKeptSumsOfAnotherFile
		return false
	}
	s.put(path, *now, patch.Block, patch.Sums)
	return true
}

// sameVersion reports whether two looks show one version of one file.
func sameVersion(a, b *disk.Info) bool {
	return a.Node == b.Node && a.Size == b.Size && a.MTime == b.MTime && a.CTime == b.CTime
}
