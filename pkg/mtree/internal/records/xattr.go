package records

import (
	"errors"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
)

// XattrName is the extended attribute on every completed directory of a copy.
const XattrName = "user.tidemark"

// ErrNoXattr says that the file system keeps no user extended attributes.
var ErrNoXattr = errors.New("no user extended attributes here")

// Of is Read for those to whom a record that cannot be read is none.
func Of(d *disk.Dir) (Record, bool) {
	r, ok, _ := Read(d)
	return r, ok
}

// Read returns the record on a directory; false if there is none or it makes no sense. After
// an error nobody knows. Cost: one fgetxattr.
func Read(d *disk.Dir) (r Record, ok bool, err error) {
	var buf [256]byte
	n, err := sys.Fgetxattr(d.FD(), XattrName, buf[:])
	switch err {
	case nil:
		r, ok = parse(string(buf[:n]))
		return r, ok, nil
	case unix.ENODATA, unix.ENOTSUP, unix.ERANGE:
		return r, false, nil
	}
	return r, false, d.PathError("getxattr", ".", err)
}

// Complete reports whether a directory of a copy is complete by the record on it: its
// mtime, in info, is still the recorded stamp, as far as that can be stored. Cost: one
// fgetxattr.
func Complete(d *disk.Dir, info disk.Info) bool {
	record, ok := Of(d)
	return ok && record.IsStored(info.MTime)
}

// Set writes the record on a directory; ErrNoXattr where that is impossible. Cost: one
// fsetxattr.
func Set(d *disk.Dir, r Record) error {
	switch err := sys.Fsetxattr(d.FD(), XattrName, []byte(r.String()), 0); err {
	case nil:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.PathError("setxattr", ".", err)
	}
}

// Drop removes the record on a directory. It is no error if there is none.
func Drop(d *disk.Dir) error {
	err := sys.Fremovexattr(d.FD(), XattrName)
	switch err {
	case nil, unix.ENODATA, unix.ENOTSUP:
		return nil
	}
	if _, missing := sys.Fgetxattr(d.FD(), XattrName, nil); missing == unix.ENODATA {
		return nil // the kernel looks for the right to remove it first
	}
	return d.PathError("removexattr", ".", err)
}

// Probe returns ErrNoXattr if directories here cannot carry records. It changes
// nothing. Cost: one fgetxattr.
func Probe(d *disk.Dir) error {
	var buf [256]byte
	switch _, err := sys.Fgetxattr(d.FD(), XattrName, buf[:]); err {
	case nil, unix.ENODATA, unix.ERANGE:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.PathError("getxattr", ".", err)
	}
}
