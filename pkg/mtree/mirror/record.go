package mirror

import (
	"cmp"
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// doubts are what is not trusted of a directory of the copy, and of all below
// it, until it is complete.
type doubts uint8

const (
	doubtBelow  doubts = 1 << iota // nothing below is taken for complete
	doubtBytes                     // files of equal size and mtime are compared by sums
	doubtHidden                    // what records say of entries left out is of another copy
)

// A directory of the copy is complete if its record has the stamp the source
// lists for it and its mtime is that stamp still. Before anything in it is
// changed its record gets one of these stamps instead, which no listing has;
// `now` and id stay, for they tell which files need sums. So a kill at any
// moment leaves a directory that is known to be unfinished, and not one whose
// changed files are taken for compared.
var (
	unfinished = doubts(0).stamp()  // itself incomplete; what is complete below counts
	distrusted = doubtBelow.stamp() // and nothing below is taken for complete either
)

// stamp returns the one that stands for these doubts in a record.
func (d doubts) stamp() mtree.Stamp { return mtree.MinStamp.Add(time.Duration(d)) }

// doubtsOf is the inverse of doubts.stamp; began is false where the record has a
// stamp of the source.
func doubtsOf(r records.Record) (d doubts, began bool) {
	since := r.Stamp.Sub(mtree.MinStamp)
	if since > time.Duration(doubtBelow|doubtBytes|doubtHidden) {
		return 0, false
	}
	return doubts(since), true
}

// record returns what the copy remembers of the directory dir at path.
func (d *dest) record(dir *disk.Dir, path string) (records.Record, bool) {
	if d.log != nil {
		return d.log.Get(path)
	}
	return records.Of(dir)
}

// setRecord writes a record. A directory that its owner may not write to is made
// writable for that.
func (d *dest) setRecord(dir *disk.Dir, path string, r records.Record) error {
	d.proven.forget(path)
	if d.log != nil {
		return d.log.Set(path, r)
	}
	err := records.Set(dir, r)
	if !disk.IsDenied(err) {
		return err
	}
	info, statErr := dir.Self()
	if statErr != nil || info.Mode&0o200 != 0 || dir.Chmod(info.Mode|0o200) != nil {
		return err
	}
	return errors.Join(records.Set(dir, r), dir.Chmod(info.Mode))
}

// complete reports whether the directory was completed with this stamp and not
// touched since.
func (d *dest) complete(r records.Record, info disk.Info, stamp mtree.Stamp) bool {
	return r.Stamp == stamp && info.MTime == d.times.Stored(stamp)
}

// begin notes that something in dir is about to change. A directory of which
// nothing is known gets the `now` and id of the listing it is compared with, one
// whose record lacks them as well, and what the source left out of that listing
// counts if it was less than before, or left out by other options: the copy may
// soon have what is hidden again later. Without a listing, now being zero, a
// directory without a record stays so: it is unfinished, and a record without
// `now` and id would say that its files need no sums.
// Cost: one getxattr, the first time one setxattr.
func (d *dest) begin(dir *disk.Dir, path string, now records.Record, doubts doubts) error {
	d.beginning.Lock()
	defer d.beginning.Unlock()
	r, known := d.record(dir, path)
	if !known {
		if now == (records.Record{}) && doubts == 0 {
			return nil
		}
		r = now
	} else if had, began := doubtsOf(r); began {
		doubts |= had
	}
	to := doubts.stamp()
	shows := known && now.Stamp != mtree.Stamp{} && (now.E != r.E || now.Excluded < r.Excluded)
	lacks := r.Now == mtree.Stamp{} && now.Now != mtree.Stamp{} || r.ID == "" && now.ID != ""
	if known && r.Stamp == to && !shows && !lacks {
		return nil
	}
	if (r.Now == mtree.Stamp{}) {
		r.Now = now.Now
	}
	r.ID = cmp.Or(r.ID, now.ID)
	if shows {
		r.Excluded, r.E = now.Excluded, now.E
	}
	r.Stamp = to
	return d.setRecord(dir, path, r)
}
