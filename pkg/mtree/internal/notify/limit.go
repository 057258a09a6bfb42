package notify

import (
	"errors"
	"fmt"

	"tidemark/pkg/mtree/internal/limit"
)

// Errors that a caller branches on.
var (
	ErrGone  = errors.New("no longer there")
	ErrLimit = limit.ErrReached
)

// overflowed says that the kernel's queue was too short, and how to make it longer. An
// event takes about 100 bytes while it waits.
func overflowed(name string) string {
	now := limit.Of(name)
	return fmt.Sprintf("the kernel's queue overflowed (%s is %d; sysctl -w %s=%d makes room)", name, now, name, max(16*now, 1<<18))
}

// WatchShortage returns why a user may not have enough watches for a tree with that many
// directories, "" if there are enough. The limit counts all programs of the user, so some
// are left to them.
func WatchShortage(directories int) string {
	most := limit.Of(limit.Watches)
	if most == 0 || directories < most-most/16 {
		return ""
	}
	return limit.Reached(limit.Watches, limit.RoundedUp(directories)).Error()
}
