package notify

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Errors a caller branches on.
var (
	ErrGone  = errors.New("no longer there")
	ErrLimit = errors.New("the kernel allows no more")
)

// Sysctls that bound what can be heard.
const (
	maxUserWatches   = "fs.inotify.max_user_watches"
	maxUserInstances = "fs.inotify.max_user_instances"
	maxInotifyQueue  = "fs.inotify.max_queued_events"
	maxFanotifyQueue = "fs.fanotify.max_queued_events"
)

// sysctl reads a number below /proc/sys; 0 if it cannot be read.
func sysctl(name string) int {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return n
}

// limitError says which sysctl to raise, and how far.
func limitError(name string, need int) error {
	return fmt.Errorf("%w: %s is %d; set it with sysctl -w %s=%d", ErrLimit, name, sysctl(name), name, need)
}

// overflowed says that the kernel's queue was too short, and how to lengthen it:
// an event takes about 100 bytes, and only while it waits.
func overflowed(name string) string {
	now := sysctl(name)
	return fmt.Sprintf("the kernel's queue overflowed (%s is %d; sysctl -w %s=%d makes room)", name, now, name, max(16*now, 1<<18))
}

// WatchShortage reports how the number of watches a user may have compares with
// a tree of so many directories: "" if it suffices. The limit counts all
// programs of the user, so some are left to them.
func WatchShortage(directories int) string {
	limit := sysctl(maxUserWatches)
	if limit == 0 || directories < limit-limit/16 {
		return ""
	}
	return limitError(maxUserWatches, roundedUp(directories)).Error()
}

// roundedUp leaves a quarter of head room above n, in whole thousands.
func roundedUp(n int) int { return (n + n/4 + 8192 + 999) / 1000 * 1000 }
