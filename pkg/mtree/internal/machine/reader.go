package machine

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Identity says who this process is to file systems: what decides, besides the
// files, which of them it may read. That is its user and group ids, the two
// capabilities that pass over permissions, what its ids stand for outside of its
// user namespace, and its label of AppArmor or SELinux. It is the same after a
// restart with the same rights. Which files are mounted where it cannot tell.
func Identity() string {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	groups, _ := os.Getgroups() // fails for no cause that a process could mend
	slices.Sort(groups)
	uids, _ := readSmall("/proc/self/uid_map") // "" without user namespaces, or without /proc
	gids, _ := readSmall("/proc/self/gid_map")
	label, _ := readSmall("/proc/self/attr/current") // EINVAL without such a module
	return fmt.Sprintf("%d %d %d %d %d %d %d %x %q %q %q", ruid, euid, suid, rgid, egid, sgid, slices.Compact(groups),
		passesOver(), uids, gids, label)
}

// passesOver returns those of the effective capabilities that pass over
// permissions when something is read (capabilities(7)).
func passesOver() uint32 {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return 0
	}
	return sets[0].Effective & (1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH)
}
