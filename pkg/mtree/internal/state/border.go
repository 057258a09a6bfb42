package state

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// IsLiveTree reports whether d is the root of a tree or copy whose watch or
// mirror is running now: somebody holds the lock in its marker directory. A
// marker directory alone proves nothing, for it may have been copied with the
// rest, or its program may be gone. What cannot be looked at is not live. Cost:
// openat where there is no marker directory; else five system calls.
func IsLiveTree(d *disk.Dir) bool {
	fd, err := disk.OpenAt(d.FD(), mtree.MarkerName, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	dir := disk.NewDir(fd, d.Path()+"/"+mtree.MarkerName)
	defer dir.Close()
	locked, err := (&Marker{root: d, dir: dir, inRoot: true}).Locked()
	return err == nil && locked
}
