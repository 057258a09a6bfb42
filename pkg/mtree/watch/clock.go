package watch

import (
	"time"

	"tidemark/pkg/mtree"
)

// ctimeLag is how far a ctime may lie behind the clock: file systems take times
// from a clock that moves with the tick, 10 ms at HZ=100, twice that for a
// reading that came just before.
const ctimeLag = 20 * time.Millisecond

// clock is the system's clock together with the highest reading taken. Safe for
// one goroutine.
type clock struct {
	read    func() mtree.Stamp
	highest mtree.Stamp
	setBack bool // a reading lay before an earlier one
}

// now takes a reading and returns the highest so far.
func (c *clock) now() mtree.Stamp {
	reading := c.read()
	if reading.Before(c.highest) {
		c.setBack = true
		return c.highest
	}
	c.highest = reading
	return reading
}

// restart forgets readings taken before the clock was set back.
func (c *clock) restart() mtree.Stamp {
	c.highest, c.setBack = c.read(), false
	return c.highest
}
