package machine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DropAmbient clears the ambient capabilities of the calling thread, which is
// what a program run from it would inherit (capabilities(7)). The thread's own
// stay; the caller must have locked itself to it.
func DropAmbient() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("prctl(PR_CAP_AMBIENT): %w", err)
	}
	return nil
}

// MayChown reports whether this process may give files away.
func MayChown() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // the second half is of the capabilities from 32 on
	err := unix.Capget(&header, &data[0])
	return err != nil || data[0].Effective&(1<<unix.CAP_CHOWN) != 0
}
