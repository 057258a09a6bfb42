package cli

import (
	"os"
	"runtime/debug"
)

// LimitGarbage lets garbage grow by a number of bytes plus a share of the memory in use, in
// percent, before it is collected. The caller must keep its result, with runtime.KeepAlive: memory
// that counts as in use and is never touched, so it costs addresses only, bytes·100/share of them.
//
// By default Go lets garbage grow by as much as is in use. In a program that holds little that is a
// few MiB, and so dozens of collections a second under load; in one that holds much it is twice the
// memory. GOGC in the environment takes precedence.
func LimitGarbage(bytes, share int) (idle []byte) {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(share)
	return make([]byte, bytes/share*100)
}
