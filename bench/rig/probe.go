package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// TooNew is how old files must be before their times prove their contents. mirror
// compares files that are younger by sums, and no tree in use has so large a share of
// them as one that was just made.
const TooNew = 11 * time.Second

// Probe writes a file again and again until it arrives: a tool that arms its watches after
// its first copy misses what is written between the two.
func Probe(source, copy string) error {
	const name = "tidemark-probe"
	first := time.Now().UnixNano()
	last := time.Time{}
	return Await(func() bool {
		got, err := os.ReadFile(filepath.Join(copy, name))
		if at, _ := strconv.ParseInt(string(got), 10, 64); err == nil && at >= first {
			return true
		}
		if time.Since(last) > time.Second {
			last = time.Now()
			_ = os.WriteFile(filepath.Join(source, name), fmt.Append(nil, last.UnixNano()), 0o644) // tried again
		}
		return false
	})
}
