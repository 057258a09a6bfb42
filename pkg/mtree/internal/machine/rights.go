package machine

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Identity returns a text that says who this process is to file systems. Together with
// the files, this decides which of them it is allowed to read: its user and group ids,
// the two capabilities that override permissions, what its ids mean outside of its user
// namespace, and its label of AppArmor or SELinux. It is the same after a restart with
// the same rights. It cannot tell which files are mounted where.
func Identity() string {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	groups, _ := os.Getgroups() // does not fail for a reason that a process could mend
	slices.Sort(groups)
	uids, _ := readSmall("/proc/self/uid_map") // "" without user namespaces, or without /proc
	gids, _ := readSmall("/proc/self/gid_map")
	label, _ := readSmall("/proc/self/attr/current") // EINVAL without such a module
	return fmt.Sprintf("%d %d %d %d %d %d %d %x %q %q %q", ruid, euid, suid, rgid, egid, sgid, slices.Compact(groups),
		readOverrides(), uids, gids, label)
}

// readOverrides returns those of the effective capabilities that override permissions
// when something is read (capabilities(7)).
func readOverrides() uint32 {
	sets, err := capabilities()
	if err != nil {
		return 0
	}
	return sets[0].Effective & (1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH)
}

// MayChown reports whether this process is allowed to give files away.
func MayChown() bool {
	sets, err := capabilities()
	return err != nil || sets[0].Effective&(1<<unix.CAP_CHOWN) != 0
}

// capabilities returns those of this thread; the second half is for numbers from 32 on.
func capabilities() (sets [2]unix.CapUserData, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err = unix.Capget(&header, &sets[0])
	return sets, err
}

// DropAmbient clears the ambient capabilities of the calling thread, which a program
// started from it would inherit (capabilities(7)). The thread keeps its own. The caller
// must have locked itself to the thread.
func DropAmbient() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("prctl(PR_CAP_AMBIENT): %w", err)
	}
	return nil
}
