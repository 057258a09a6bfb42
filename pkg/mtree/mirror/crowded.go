package mirror

import (
	"syscall"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"time"
)

// A full disk fails what does not fit, and nothing else: the rest of the pass goes
// on, with its deletions, and then what did not fit is tried again.

// crowded remembers that the copy's disk was full, so that a file which does not
// fit is not brought again with every small change: only where there is room by
// now, and once a minute, for a disk that compresses may have room all the same.
type crowded struct {
	at   time.Time // zero: it was not
	free int64     // bytes, for one pass; below 0: not asked yet
}

const crowdedFor = time.Minute

var errNoRoom = replica.Local(syscall.ENOSPC)

// lacksRoom notes an error of a full disk.
func (p *pass) lacksRoom(err error) {
	if p.result.noRoom == nil {
		p.result.noRoom = replica.Local(err)
	}
	p.result.tried = p.result.tried || err != errNoRoom
}

// madeRoom reports whether what did not fit may fit now.
func (r *result) madeRoom() bool { return r.noRoom != nil && r.deleted > 0 }

// note takes what a pass found.
func (c *crowded) note(r *result) {
	c.free = -1
	switch {
	case r.noRoom == nil:
		c.at = time.Time{}
	case r.tried:
		c.at = time.Now()
	}
}

// outOf reports whether a file of that size need not be tried.
func (c *crowded) outOf(d *replica.Replica, size int64) bool {
	if c.at.IsZero() || time.Since(c.at) > crowdedFor {
		return false
	}
	if c.free < 0 {
		c.free = d.Root.Free()
	}
	return size > c.free
}
