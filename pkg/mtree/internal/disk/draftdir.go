package disk

import (
	"golang.org/x/sys/unix"
)

// DraftDir is a new directory being filled, not yet under its name. Nobody
// looks into it, so a file in it may have its name from the start, which costs a
// third less than a file that gets it when it is whole.
type DraftDir struct {
	*Dir
	aside *Aside
	name  string // in aside; "" when it is there no longer
}

// CreateDir makes an empty directory aside with these permission bits.
func (a *Aside) CreateDir(mode uint32) (*DraftDir, error) {
	name := a.Name()
	dir, err := a.dir.MakeDir(name, mode)
	if err != nil {
		return nil, err
	}
	dir.unseen = true
	return &DraftDir{dir, a, name}, nil
}

// Place gives the directory the name of an empty one in parent, atomically, and
// closes it. If it fails the draft is gone with all that is in it: with
// ENOTEMPTY where the other one is not empty. System calls:
//
//	renameat(aside/N, parent/name)
func (d *DraftDir) Place(parent *Dir, name string) error {
	defer d.Discard()
	if err := checkComponent(name); err != nil {
		return parent.PathError("rename", name, err)
	}
	if err := unix.Renameat(d.aside.dir.fd, d.name, parent.fd, name); err != nil {
		return parent.PathError("rename", name, err)
	}
	d.name = ""
	return nil
}

// Discard closes the directory and removes it, if it was not placed.
func (d *DraftDir) Discard() {
	_ = d.Close()
	if d.name != "" {
		_ = d.aside.dir.RemoveTree(d.name)
		d.name = ""
	}
}

// InheritsNothing reports whether files made in an empty directory aside turn
// out as in this one: it has the same owner and mode, and neither an ACL nor
// anything else than the extended attribute ours that they would inherit from it.
func (d *Dir) InheritsNothing(aside *DraftDir, ours string) bool {
	var names [256]byte
	n, err := unix.Flistxattr(d.fd, names[:])
	if err != nil && err != unix.ENOTSUP || n > 0 && string(names[:n]) != ours+"\x00" {
		return false
	}
	a, err1 := d.Self()
	b, err2 := aside.Self()
	return err1 == nil && err2 == nil && a.UID == b.UID && a.GID == b.GID && a.Mode == b.Mode
}
