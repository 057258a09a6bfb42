package machine

import (
	"context"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// Now reads CLOCK_REALTIME, the clock that file times are taken from. A ctime may be
// earlier by up to a tick (10 ms at HZ=100).
func Now() mtree.Stamp { return mtree.FromTime(sys.Now()) }

// Uptime returns the time since the machine was booted, by a clock that nobody sets and
// that runs while the machine sleeps (CLOCK_BOOTTIME); 0 if it is not known.
func Uptime() time.Duration { return sys.Boottime() }

// Sleep waits for a time, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// BootID returns the kernel's random identifier of this boot, "" if it is not known.
func BootID() string {
	id, err := readSmall("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return id
}
