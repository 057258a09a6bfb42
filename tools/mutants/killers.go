package main

import (
	"path/filepath"
	"strings"
	"time"
)

// reach is a test that reaches a mutant.
type reach struct {
	binary *binary
	test   string
	took   time.Duration
}

// killerName names a test as the table does.
func killerName(b *binary, test string) string { return filepath.Base(b.dir) + "." + test }

// killedBy is what the cache keeps of a test that failed: its name, and what it was.
func killedBy(x *testIndex, r reach) string {
	return killerName(r.binary, r.test) + " " + keyOf(x.textOf(r.test, r.binary.dir))
}

// earlierKiller returns the test that killed a mutant in an earlier run, if it is one of
// those that count now and has not changed; "" if there is none.
func earlierKiller(c *cache, x *testIndex, count []reach, key string) string {
	was, _ := c.get(key)
	for _, r := range count {
		if name := killerName(r.binary, r.test); strings.HasPrefix(was, name+" ") && was == killedBy(x, r) {
			return name
		}
	}
	return ""
}
