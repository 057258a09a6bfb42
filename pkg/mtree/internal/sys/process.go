package sys

import (
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ReadFile is os.ReadFile of a file of /proc or /sys.
func ReadFile(path string) ([]byte, error) {
	if kernel != nil {
		return kernel.ReadFile(strings.Clone(path))
	}
	return os.ReadFile(path)
}

// Readlink is os.Readlink of a link of /proc.
func Readlink(path string) (string, error) {
	if kernel != nil {
		return kernel.Readlink(strings.Clone(path))
	}
	return os.Readlink(path)
}

// Boottime reads CLOCK_BOOTTIME; 0 if it is not known.
func Boottime() time.Duration {
	if kernel != nil {
		return kernel.Boottime()
	}
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Now reads CLOCK_REALTIME.
func Now() time.Time {
	if kernel != nil {
		return kernel.Now()
	}
	return time.Now()
}

// Geteuid is geteuid(2).
func Geteuid() int {
	if kernel != nil {
		return kernel.Geteuid()
	}
	return os.Geteuid()
}

// Processors returns how many goroutines can run at once.
func Processors() int {
	if kernel != nil {
		return kernel.Processors()
	}
	return runtime.GOMAXPROCS(0)
}
