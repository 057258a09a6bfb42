package disk

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// What is made in a directory with the setgid bit gets the directory's group, and a
// directory also gets the bit. Listings show neither: both belong to the copy and stay.
// What is made elsewhere and then moved there must get them explicitly. If this process
// is not allowed to give them, it goes on without, as chmod(2) does where it drops the
// bit without an error.

const setgid = unix.S_ISGID

// groupBelow returns the group that a file or directory made in d gets; false if it is
// that of the process. Cost: statx.
func (d *Dir) groupBelow() (gid int, ok bool) {
	info, err := d.Self()
	return int(info.GID), err == nil && info.Mode&setgid != 0
}

// Inherit gives d, which was made elsewhere, the group and the setgid bit that a
// directory made in parent would have.
func (d *Dir) Inherit(parent *Dir) error {
	gid, ok := parent.groupBelow()
	if !ok {
		return nil
	}
	_ = sys.Fchown(d.fd, -1, gid)
	info, err := d.Self()
	if err == nil && info.Mode&setgid == 0 && int(info.GID) == gid {
		err = d.Chmod(info.Mode | setgid)
	}
	return err
}

// InheritEntry gives the entry name of d, which will be moved to dir, the group that
// it would have if it were made there.
func (d *Dir) InheritEntry(name string, dir *Dir) {
	if gid, ok := dir.groupBelow(); ok {
		_ = sys.Fchownat(d.fd, name, -1, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
}
