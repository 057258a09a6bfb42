package stamprule

import (
	"time"

	"tidemark/pkg/mtree"
)

// LookBack is how far before a checkpoint a ctime still counts as a change:
// the times of a long write are set at its start.
const LookBack = 10 * time.Second

// Clock is a clock together with the highest reading taken. One goroutine uses it.
type Clock struct {
	read    func() mtree.Stamp
	highest mtree.Stamp
	setBack bool
}

// NewClock returns a clock that reads the time by calling read.
func NewClock(read func() mtree.Stamp) Clock { return Clock{read: read} }

// Now takes a reading and returns the highest so far.
func (c *Clock) Now() mtree.Stamp {
	reading := c.read()
	if reading.Before(c.highest) {
		c.setBack = true // guard: TestClockSetBack
		return c.highest // guard: TestClockSetBack
	}
	c.highest = reading
	return reading
}

// SetBack reports whether a reading lay before an earlier one.
func (c *Clock) SetBack() bool { return c.setBack }

// Restart takes a reading and forgets all earlier ones.
func (c *Clock) Restart() mtree.Stamp {
	c.highest, c.setBack = c.read(), false
	return c.highest
}
