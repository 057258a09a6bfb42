package handles

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount distinguishes a mount from others, as long as a descriptor on it is open. A
// subvolume has its own device but need not be a mount.
type Mount struct{ id, dev uint64 }

// mounted is a mount in the tree.
type mounted struct {
	fd int
	Mount
}

// MountOf returns the mount that the descriptor fd is on.
func MountOf(fd int) (Mount, error) {
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx); err != nil {
		return Mount{}, fmt.Errorf("statx: %w", err)
	}
	return mountIn(&stx), nil
}

func mountIn(stx *unix.Statx_t) Mount {
	return Mount{stx.Mnt_id, unix.Mkdev(stx.Dev_major, stx.Dev_minor)}
}

// MountIDs returns the ids of all mounts.
func MountIDs() (map[uint64]bool, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	for line := range strings.Lines(string(text)) {
		number, _, _ := strings.Cut(line, " ")
		if id, err := strconv.ParseUint(number, 10, 64); err == nil {
			ids[id] = true
		}
	}
	return ids, nil
}
