package records

import (
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// Record is what a copy remembers of the listing from which a directory was completed.
type Record struct {
	Stamp mtree.Stamp // the source's stamp, exact even where the file system is coarse
	Now   mtree.Stamp // the source's clock when that listing was read
	ID    string      // the source's id of the directory; "": it gave none

	// Excluded is the number of entries that the source left out (Listing.Excluded) when
	// the copy last had only listed entries; Fingerprint is the E of the source's ETags at
	// that time. If Excluded is 0 and Fingerprint "", nothing is known of either.
	Excluded    int64
	Fingerprint string
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
