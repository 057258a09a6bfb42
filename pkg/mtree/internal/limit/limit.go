// Package limit knows the sysctls that limit inotify(7) and fanotify(7), and makes
// errors that say which one to raise, and how far.
package limit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/internal/sys"
)

// The sysctls, for Of and Reached.
const (
	Watches       = "fs.inotify.max_user_watches"
	Instances     = "fs.inotify.max_user_instances"
	InotifyQueue  = "fs.inotify.max_queued_events"
	FanotifyQueue = "fs.fanotify.max_queued_events"
)

// ofNamespace has the sysctls with the same limit for all users of a user namespace
// together, which a container may have lowered.
var ofNamespace = map[string]string{
	Watches:   "user.max_inotify_watches",
	Instances: "user.max_inotify_instances",
}

// ErrReached says that the kernel allows no more. The text of the error that wraps it
// names the remedy.
var ErrReached = errors.New("the kernel allows no more")

// read reads a number below /proc/sys.
func read(name string) (n int, err error) {
	text, err := sys.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Of returns how much the sysctl name allows here, or the one of the user namespace if
// that allows less; 0 if it cannot be read.
func Of(name string) int {
	_, n := binding(name)
	return n
}

// binding returns the sysctl that allows less, and how much: name, or that of the user
// namespace.
func binding(name string) (string, int) {
	n, err := read(name)
	if other := ofNamespace[name]; other != "" {
		if m, otherErr := read(other); otherErr == nil && (err != nil || m < n) {
			return other, m
		}
	}
	return name, n
}

// Reached returns an error that says to raise the sysctl name to need, or the one of the
// user namespace if that allows less.
func Reached(name string, need int) error {
	which, n := binding(name)
	return fmt.Errorf("%w: %s is %d; set it with sysctl -w %s=%d", ErrReached, which, n, which, need)
}

// NoInstance returns the error for an inotify_init1 that failed with EMFILE: the user has
// all instances that are allowed, or the process all descriptors.
func NoInstance() error {
	file, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w: raise the number of descriptors (ulimit -n, LimitNOFILE=)", err)
	}
	_ = file.Close()
	return Reached(Instances, max(2*Of(Instances), 128))
}

// NoWatch returns the error for an inotify_add_watch that failed with ENOSPC. set is how
// many watches this process has; 0 if it does not know.
func NoWatch(set int) error { return Reached(Watches, RoundedUp(max(set, Of(Watches)))) }

// RoundedUp returns n and a quarter more, and some, in whole thousands.
func RoundedUp(n int) int { return (n + n/4 + 8192 + 999) / 1000 * 1000 }
