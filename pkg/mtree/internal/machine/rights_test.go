package machine

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A program that is started from a thread without ambient capabilities inherits none.
// The test needs CAP_FOWNER, to raise it first.
func TestDropAmbient(t *testing.T) {
	ambient := make(chan [2]string)
	go func() {
		runtime.LockOSThread() // and gone with it
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		if unix.Capget(&header, &sets[0]) == nil {
			sets[0].Inheritable |= 1 << unix.CAP_FOWNER
			_ = unix.Capset(&header, &sets[0])
		}
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_FOWNER, 0, 0)
		before := capAmb()
		if err := DropAmbient(); err != nil {
			t.Error(err)
		}
		ambient <- [2]string{before, capAmb()}
	}()
	got := <-ambient
	require.Equal(t, "0000000000000008", got[0])
	require.Equal(t, "0000000000000000", got[1])
}

func capAmb() string {
	text, _ := os.ReadFile("/proc/thread-self/status")
	_, rest, _ := strings.Cut(string(text), "CapAmb:\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
