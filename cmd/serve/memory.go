package main

import (
	"os"
	"runtime/debug"
)

// tuneCollector lets garbage grow by 12 MiB plus half of the memory in use before it
// is collected. The caller must keep its result: memory that counts as in use and is
// never touched, so it costs addresses only. By default Go lets garbage grow by as
// much as is in use. In a server that holds little that is a few MiB, and so dozens
// of collections a second under load; where ten thousand clients wait, it is twice
// the memory. GOGC in the environment takes precedence.
func tuneCollector() (idle []byte) {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(50)
	return make([]byte, 24<<20)
}
