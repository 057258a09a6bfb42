package disk

import (
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// TempDir is a new directory that is being filled and does not have its name yet. No
// other process looks into it, so files in it may have their names from the start. That
// costs a third less than to name a file when it is complete.
type TempDir struct {
	*Dir
	staging *Staging
	name    string // in staging; "" when it is no longer there
}

// CreateDir makes an empty directory in the Staging with these permission bits.
func (s *Staging) CreateDir(mode uint32) (*TempDir, error) {
	name := s.Name()
	dir, err := s.dir.MakeDir(name, mode)
	if err != nil {
		_ = s.dir.RemoveTree(name) // it may have been made, and not be opened
		return nil, err
	}
	dir.unseen = true
	return &TempDir{dir, s, name}, nil
}

// Place gives the directory the name of an empty one in parent, atomically, and closes
// it. If it fails the directory is gone with everything in it; the error is ENOTEMPTY
// if the other one is not empty. System calls:
//
//	renameat(staging/N, parent/name)
func (d *TempDir) Place(parent *Dir, name string) error {
	defer d.Discard()
	if err := checkComponent(name); err != nil {
		return parent.PathError("rename", name, err)
	}
	if err := sys.Renameat(d.staging.dir.fd, d.name, parent.fd, name); err != nil {
		return parent.PathError("rename", name, err)
	}
	d.name = ""
	return nil
}

// Discard closes the directory, and removes it if it was not placed.
func (d *TempDir) Discard() {
	_ = d.Close()
	if d.name != "" {
		_ = d.staging.dir.RemoveTree(d.name)
		d.name = ""
	}
}

// InheritsNothing reports whether files made in the empty TempDir turn out as in this
// directory: both have the same owner and mode, and this one has neither an ACL nor
// another extended attribute that they would inherit, except for ours.
func (d *Dir) InheritsNothing(empty *TempDir, ours string) bool {
	var names [256]byte
	n, err := sys.Flistxattr(d.fd, names[:])
	if err != nil && err != unix.ENOTSUP || n > 0 && string(names[:n]) != ours+"\x00" {
		return false
	}
	a, err1 := d.Self()
	b, err2 := empty.Self()
	return err1 == nil && err2 == nil && a.UID == b.UID && a.GID == b.GID && a.Mode == b.Mode
}
