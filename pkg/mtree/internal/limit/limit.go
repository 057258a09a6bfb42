// Package limit says which sysctl bounds what a program hears, and how far to
// raise it.
package limit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Sysctls that bound what can be heard.
const (
	Watches       = "fs.inotify.max_user_watches"
	Instances     = "fs.inotify.max_user_instances"
	InotifyQueue  = "fs.inotify.max_queued_events"
	FanotifyQueue = "fs.fanotify.max_queued_events"
)

// ofNamespace are the sysctls that bound the same for all users of a user
// namespace together, which a container may have lowered.
var ofNamespace = map[string]string{
	Watches:   "user.max_inotify_watches",
	Instances: "user.max_inotify_instances",
}

// ErrReached: the kernel allows no more. The text of the error names the remedy.
var ErrReached = errors.New("the kernel allows no more")

// read reads a number below /proc/sys.
func read(name string) (n int, err error) {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Of returns how much the sysctl allows here; 0 if it cannot be read.
func Of(name string) int {
	_, n := binding(name)
	return n
}

// binding returns the sysctl that allows less: the one by that name, or that of the
// user namespace.
func binding(name string) (string, int) {
	n, err := read(name)
	if other := ofNamespace[name]; other != "" {
		if m, otherErr := read(other); otherErr == nil && (err != nil || m < n) {
			return other, m
		}
	}
	return name, n
}

// Reached says which sysctl to raise, and how far.
func Reached(name string, need int) error {
	which, n := binding(name)
	return fmt.Errorf("%w: %s is %d; set it with sysctl -w %s=%d", ErrReached, which, n, which, need)
}

// NoInstance says why inotify_init1 failed with EMFILE: the user has as many
// instances as he may, or the process as many descriptors.
func NoInstance() error {
	file, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w: raise the number of descriptors (ulimit -n, LimitNOFILE=)", err)
	}
	_ = file.Close()
	return Reached(Instances, max(2*Of(Instances), 128))
}

// NoWatch says why inotify_add_watch failed with ENOSPC, where so many are set.
func NoWatch(set int) error { return Reached(Watches, RoundedUp(max(set, Of(Watches)))) }

// RoundedUp leaves a quarter of head room above n, in whole thousands.
func RoundedUp(n int) int { return (n + n/4 + 8192 + 999) / 1000 * 1000 }
