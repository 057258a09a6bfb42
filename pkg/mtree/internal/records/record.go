package records

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
)

// XattrName is on every completed directory of a copy.
const XattrName = "user.tidemark"

// ErrNoXattr says that the file system keeps no user extended attributes.
var ErrNoXattr = errors.New("no user extended attributes here")

// Record is what a copy remembers of the listing from which a directory was
// completed.
type Record struct {
	Stamp mtree.Stamp // the source's stamp, exact even where the file system is coarse
	Now   mtree.Stamp // the source's clock when that listing was read
	ID    string      // the source's id of the directory, "" if it gave none

	// Excluded is how many entries the source left out (Listing.Excluded) when
	// the copy last had none that was not listed, Fingerprint the one of its ETags then;
	// Fingerprint is "" if Excluded is 0 and the two say nothing.
	Excluded    int64
	Fingerprint string
}

// String returns "STAMP NOW ID", the id as "-" if there is none, and then
// " EXCLUDED/FINGERPRINT" if they say anything: beyond some 60 bytes ext4 takes a block for
// each.
func (r Record) String() string {
	id := r.ID
	if id == "" {
		id = "-"
	}
	text := r.Stamp.String() + " " + r.Now.String() + " " + id
	if r.Excluded > 0 || r.Fingerprint != "" {
		text += " " + strconv.FormatInt(r.Excluded, 10) + "/" + r.Fingerprint
	}
	return text
}

// Parse is the inverse of Record.String.
func Parse(text string) (Record, bool) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 && len(fields) != 4 {
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
	if len(fields) == 4 {
		count, e, ok := strings.Cut(fields[3], "/")
		n, err := strconv.ParseInt(count, 10, 63)
		if !ok || err != nil || n < 0 || n == 0 && e == "" {
			return Record{}, false
		}
		r.Excluded, r.Fingerprint = n, e
	}
	return r, true
}

// Record reads the directory's record; false if there is none or it makes no
// sense. Cost: one fgetxattr.
func Of(d *disk.Dir) (Record, bool) {
	var buf [256]byte
	n, err := unix.Fgetxattr(d.FD(), XattrName, buf[:])
	if err != nil {
		return Record{}, false
	}
	return Parse(string(buf[:n]))
}

// SetRecord writes the directory's record; ErrNoXattr where that cannot be.
func Set(d *disk.Dir, r Record) error {
	switch err := unix.Fsetxattr(d.FD(), XattrName, []byte(r.String()), 0); err {
	case nil:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.PathError("setxattr", ".", err)
	}
}

// DropRecord removes the directory's record.
func Drop(d *disk.Dir) error {
	switch err := unix.Fremovexattr(d.FD(), XattrName); err {
	case nil, unix.ENODATA, unix.ENOTSUP:
		return nil
	default:
		return d.PathError("removexattr", ".", err)
	}
}

// ProbeRecord returns ErrNoXattr if directories here cannot carry records. It
// changes nothing.
func Probe(d *disk.Dir) error {
	var buf [256]byte
	switch _, err := unix.Fgetxattr(d.FD(), XattrName, buf[:]); err {
	case nil, unix.ENODATA, unix.ERANGE:
		return nil
	case unix.ENOTSUP:
		return ErrNoXattr
	default:
		return d.PathError("getxattr", ".", err)
	}
}

// Finished reports whether a directory of a copy is complete: it has a record,
// and its mtime is still the one recorded, as far as it can be stored.
func Complete(d *disk.Dir, info disk.Info) bool {
	record, ok := Of(d)
	return ok && filetime.SameStored(info.MTime, record.Stamp)
}
