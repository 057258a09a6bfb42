package main

import (
	"os"
	"runtime/debug"
)

// idleHeap is counted as if it were in use and never touched, so it costs
// addresses, not memory.
var idleHeap []byte

// tuneCollector lets garbage grow by 16 MiB and half of what is in use before it
// is collected. Go's default, as much as is in use, is a few MiB in a server that
// holds little, and thus dozens of collections a second under load; and twice the
// memory where ten thousand clients wait. GOGC in the environment has its way.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		idleHeap = make([]byte, 32<<20)
		debug.SetGCPercent(50)
	}
}
