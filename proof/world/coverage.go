package world

import (
	"fmt"
	"strings"
	"sync"
)

// Coverage counts which changes came after which transition.
type Coverage struct {
	mu    sync.Mutex
	pairs map[string]int // "TRANSITION × CHANGE"
}

// Add adds what happened in a world.
func (c *Coverage) Add(played Played) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pairs == nil {
		c.pairs = map[string]int{}
	}
	for name, n := range played.Counted {
		if strings.Contains(name, pairMark) {
			c.pairs[name] += n
		}
	}
}

// Covered is how many of all pairs of a transition and a change there were.
func (c *Coverage) Covered() (covered, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range transitions {
		for i := range changes {
			all++
			if c.pairs[t.name+pairMark+changes[i].name] > 0 {
				covered++
			}
		}
	}
	return covered, all
}

// Table shows the counts: a line for each transition, a column for each change.
func (c *Coverage) Table() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s", "")
	for i := range changes {
		fmt.Fprintf(&b, "%9s", changes[i].name)
	}
	for _, t := range transitions {
		fmt.Fprintf(&b, "\n%-16s", t.name)
		for i := range changes {
			fmt.Fprintf(&b, "%9d", c.pairs[t.name+pairMark+changes[i].name])
		}
	}
	return b.String() + "\n"
}
