package disk

import (
	"golang.org/x/sys/unix"
)

// What is made in a directory with the setgid bit gets its group, and a directory the
// bit, too. Listings tell nothing of either: both are the copy's own, and stay. What
// is made aside and moved there has to be given them. Who may not give them does
// without, as where chmod(2) drops the bit in silence.

const setgid = unix.S_ISGID

// ownBits are the bits of a directory's mode that no listing tells.
const ownBits = 0o7000

// inherits returns the group that what is made in d gets; false if it is the maker's.
// Cost: statx.
func (d *Dir) inherits() (gid int, ok bool) {
	info, err := d.Self()
	return int(info.GID), err == nil && info.Mode&setgid != 0
}

// Inherit gives the draft the group that a file made in dir would have.
func (f *TempFile) Inherit(dir *Dir) {
	if gid, ok := dir.inherits(); ok {
		_ = unix.Fchown(f.fd, -1, gid)
	}
}

// Inherit gives d, which was made elsewhere, what a directory made in parent would
// have.
func (d *Dir) Inherit(parent *Dir) error {
	gid, ok := parent.inherits()
	if !ok {
		return nil
	}
	_ = unix.Fchown(d.fd, -1, gid)
	info, err := d.Self()
	if err == nil && info.Mode&setgid == 0 && int(info.GID) == gid {
		err = d.Chmod(info.Mode | setgid)
	}
	return err
}

// InheritEntry gives the entry name of d, made to be moved to dir, the group that it
// would have if it were made there.
func (d *Dir) InheritEntry(name string, dir *Dir) {
	if gid, ok := dir.inherits(); ok {
		_ = unix.Fchownat(d.fd, name, -1, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
}
