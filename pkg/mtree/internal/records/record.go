package records

import (
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/filetime"
)

// Record is what a copy remembers of the listing from which a directory was completed.
type Record struct {
	Stamp mtree.Stamp // the source's stamp, exact even where the file system is coarse
	Now   mtree.Stamp // the source's clock when that listing was read
	ID    string      // the source's id of the directory; "": it gave none

	// Excluded is the number of entries that the source left out (Listing.Excluded) when
	// the copy last had only listed entries; Fingerprint is the E of the source's ETags at
	// that time, and after a "+" which names were mount points (Listing.Mounts). A "!" at its
	// end: entries stayed in the copy that the listing did not have. If Excluded is 0 and
	// Fingerprint "", nothing is known of either.
	Excluded    int64
	Fingerprint string
}

// UnfinishedBits is how many bits of nanoseconds above the least stamp the stamps have that
// mark unfinished directories: package replica of mirror says what they stand for. No
// source lists them.
const UnfinishedBits = 28

// IsUnfinished reports whether the record marks a directory as unfinished.
func (r Record) IsUnfinished() bool {
	return r.Stamp.Sub(mtree.MinStamp) < 1<<UnfinishedBits
}

// DoubtBelow is the nanosecond in the stamp of an unfinished record that says: nothing below
// the directory is trusted until it is complete.
const DoubtBelow = 1

// IsDoubtedBelow reports whether nothing below the directory is trusted.
func (r Record) IsDoubtedBelow() bool {
	return r.IsUnfinished() && r.Stamp.Sub(mtree.MinStamp)&DoubtBelow != 0
}

// IsStored reports whether a directory with this record and mtime is complete: the mtime is
// still the stamp, as far as some file system can store it. Those show 1970, say, for all
// that lies before, and so for the stamps of unfinished directories.
func (r Record) IsStored(mtime mtree.Stamp) bool {
	return !r.IsUnfinished() && filetime.SameStored(mtime, r.Stamp) // guard (without !r.IsUnfinished()): TestUnfinishedIsNotStored
}

// String returns "STAMP NOW ID", with "-" for no id, and then " EXCLUDED/FINGERPRINT" if
// they are known: ext4 takes a block for each record above some 60 bytes. parse is its
// inverse.
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

// parse reads what Record.String wrote; false if it makes no sense.
func parse(text string) (Record, bool) {
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
		count, fingerprint, ok := strings.Cut(fields[3], "/")
		n, err := strconv.ParseInt(count, 10, 63)
		if !ok || err != nil || n < 0 || n == 0 && fingerprint == "" {
			return Record{}, false
		}
		r.Excluded, r.Fingerprint = n, fingerprint
	}
	return r, true
}
