package main

import (
	"os"
	"runtime/debug"
)

// tuneCollector lets garbage grow by 12 MiB and half of what is in use before it
// is collected, as long as what it returns is kept: memory that counts as in use
// and is never touched, so it costs addresses only. Go's default, as much as is in
// use, is a few MiB in a server that holds little, and thus dozens of collections a
// second under load; and twice the memory where ten thousand clients wait. GOGC in
// the environment has its way.
func tuneCollector() (idle []byte) {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(50)
	return make([]byte, 24<<20)
}
