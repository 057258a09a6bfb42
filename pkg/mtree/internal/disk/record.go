package disk

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// recordXattr is on every completed directory of a copy.
const recordXattr = "user.tidemark"

// ErrNoXattr says that the file system keeps no user extended attributes.
var ErrNoXattr = errors.New("no user extended attributes here")

// Record is what a copy remembers of the listing from which a directory was
// completed.
type Record struct {
	Stamp mtree.Stamp // the source's stamp, exact even where the file system is coarse
	Now   mtree.Stamp // the source's clock when that listing was read
	ID    string      // the source's id of the directory, "" if it gave none
}

// String returns "STAMP NOW ID", the id as "-" if there is none.
func (r Record) String() string {
	id := r.ID
	if id == "" {
		id = "-"
	}
	return r.Stamp.String() + " " + r.Now.String() + " " + id
}

// ParseRecord is the inverse of Record.String.
func ParseRecord(text string) (Record, bool) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 {
		return Record{}, false
	}
	stamp, err1 := mtree.ParseStamp(fields[0])
	now, err2 := mtree.ParseStamp(fields[1])
	if err1 != nil || err2 != nil {
		return Record{}, false
	}
	r := Record{Stamp: stamp, Now: now}
	if fields[2] != "-" {
		r.ID = fields[2]
	}
	return r, true
}

// Record reads the directory's record; false if there is none or it makes no
// sense. Cost: one fgetxattr.
func (d *Dir) Record() (Record, bool) {
	var buf [256]byte
	n, err := unix.Fgetxattr(d.fd, recordXattr, buf[:])
	if err != nil {
		return Record{}, false
	}
	return ParseRecord(string(buf[:n]))
}

// SetRecord writes the directory's record; ErrNoXattr where that cannot be.
func (d *Dir) SetRecord(r Record) error {
	switch err := unix.Fsetxattr(d.fd, recordXattr, []byte(r.String()), 0); err {
	case nil:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.fail("setxattr", ".", err)
	}
}

// DropRecord removes the directory's record.
func (d *Dir) DropRecord() error {
	switch err := unix.Fremovexattr(d.fd, recordXattr); err {
	case nil, unix.ENODATA, unix.ENOTSUP:
		return nil
	default:
		return d.fail("removexattr", ".", err)
	}
}

// ProbeRecord returns ErrNoXattr if directories here cannot carry records. It
// changes nothing.
func (d *Dir) ProbeRecord() error {
	var buf [256]byte
	switch _, err := unix.Fgetxattr(d.fd, recordXattr, buf[:]); err {
	case nil, unix.ENODATA, unix.ERANGE:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.fail("getxattr", ".", err)
	}
}
