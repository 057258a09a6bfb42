package disk

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

// ReadsAll reports whether this process may read whatever it likes, by its
// capabilities.
func ReadsAll() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	return err == nil && sets[0].Effective&(1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_DAC_READ_SEARCH) != 0
}
