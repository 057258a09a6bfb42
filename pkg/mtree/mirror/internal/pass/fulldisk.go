package pass

import (
	"syscall"
	"time"

	"tidemark/pkg/mtree/mirror/internal/replica"
)

// If the copy's disk is full, only the files that do not fit fail. The rest of the pass
// goes on, with its deletions, and then the files that did not fit are tried again.

// fullDisk remembers from pass to pass that the copy's disk was full. So a file that
// does not fit is not fetched again with every small change: only if there is room for
// it, or once a minute, for a disk that compresses may have more room than it says.
// The zero value says that the disk was not full.
type fullDisk struct {
	at   time.Time // when a write failed last; zero: none did
	free int64     // free bytes as of this pass; below 0: not asked yet
}

// fullFor is how long a file that does not fit is not tried again.
const fullFor = time.Minute

// errNoRoom is the failure of a file that was not tried.
var errNoRoom = replica.Local(syscall.ENOSPC)

// note records what a pass found.
func (c *fullDisk) note(r *Result) {
	c.free = -1
	switch {
	case r.NoRoom == nil:
		c.at = time.Time{}
	case r.tried:
		c.at = time.Now()
	}
}

// lacks reports whether a file of that size need not be tried. Cost: one statfs for each
// pass.
func (c *fullDisk) lacks(d *replica.Replica, size int64) bool {
	if time.Since(c.at) > fullFor {
		return false
	}
	if c.free < 0 {
		c.free = d.Root.Free()
	}
	return size > c.free
}
