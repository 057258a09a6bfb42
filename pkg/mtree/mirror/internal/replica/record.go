package replica

import (
	"cmp"
	"errors"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// Doubts say what is not trusted in a directory of the copy, and in everything below it,
// until it is complete.
type Doubts uint8

// What may be doubted.
const (
	DoubtBelow  Doubts = records.DoubtBelow << iota // no directory below is taken for complete
	DoubtBytes                                      // files of equal size and mtime are compared by their sums
	DoubtHidden                                     // what records say of entries left out is not true of this copy
	DoubtRecent                                     // the source may have lost bytes under times that it kept: plan.LossSlack
	DoubtClock                                      // the `now` in records may be of another clock than the source's
)

// A directory of the copy is complete if its record has the stamp that the source lists
// for it, and its mtime is still that stamp. Before anything in it is changed, its record
// gets a stamp that no listing has and that stands for doubts. `now` and id stay, because
// they say which files need sums. So a kill at any moment leaves a directory that is
// known to be unfinished, and no changed file in it counts as compared.
//
// That stamp also stands for the stay in which the directory was begun: boot and mount of
// its disk. After another one, the disk may have kept size and time of a file and lost its
// bytes, if they were not flushed; and only a complete directory is known to be flushed.

// stamp returns the stamp that stands for these doubts in a record that was begun in a stay.
func (d Doubts) stamp(in stay) mtree.Stamp {
	return mtree.MinStamp.Add(time.Duration(in)<<stayShift | time.Duration(d))
}

// begunIn returns the stay in which a directory was begun; false if it was not.
func begunIn(r records.Record) (in stay, begun bool) {
	return stay(r.Stamp.Sub(mtree.MinStamp) >> stayShift), r.IsUnfinished()
}

// MayBeLost reports whether a directory that is not complete was begun in another stay, so
// that files in it may lack bytes. Without a record, record is the zero value. Where the line
// that says so may be lost, all such directories count.
func (r *Replica) MayBeLost(record records.Record) bool {
	if in, begun := begunIn(record); begun {
		return in != r.stay // guard (returns false): TestSimulatedBytesThatTheCopyLost
	}
	return r.linesLost.Load() // guard (returns false): TestSimulatedLinesThatTheLogLost
}

// Below reports whether no directory below is taken for complete.
func (d Doubts) Below() bool { return d&DoubtBelow != 0 }

// DoubtsOf returns the doubts that a record stands for. begun is false if the record has a
// stamp of the source: then the directory was complete and nothing is doubted.
func DoubtsOf(r records.Record) (d Doubts, begun bool) {
	if _, begun = begunIn(r); !begun {
		return 0, false
	}
	return Doubts(r.Stamp.Sub(mtree.MinStamp) & (1<<stayShift - 1)), true
}

// Record returns the record of the directory dir at path; false if it has none. After an error
// nobody knows: to take it for none would forget what is doubted, and since when. Cost: one
// getxattr, or nothing where there are no extended attributes.
func (r *Replica) Record(dir *disk.Dir, path string) (record records.Record, ok bool, err error) {
	if r.records != nil {
		record, ok = r.records.Get(path)
		return record, ok, nil
	}
	return records.Read(dir)
}

// IsNew reports whether nothing was ever copied here: the root has neither an entry nor a
// record. A copy without entries may be complete, if the source had none or all of them
// were left out.
func (r *Replica) IsNew() (bool, error) {
	if _, ok, err := r.Record(r.Root, ""); ok || err != nil {
		return false, err
	}
	return r.IsEmpty()
}

// SetRecord writes the record of the directory dir at path. If its owner may not write to
// the directory, it is made writable meanwhile. Cost: one setxattr.
func (r *Replica) SetRecord(dir *disk.Dir, path string, record records.Record) error {
	r.proven.forget(path)
	if r.records != nil {
		return r.records.Set(path, record)
	}
	err := records.Set(dir, record)
	if !disk.IsDenied(err) {
		return err
	}
	info, statErr := dir.Self()
	if statErr != nil || info.Mode&0o200 != 0 || dir.Chmod(info.Mode|0o200) != nil {
		return err
	}
	return errors.Join(records.Set(dir, record), dir.Chmod(info.Mode))
}

// Complete writes the record of the directory dir at path, which is complete. Once the root
// is, each directory was compared or completed in this stay, and no line of the log is
// missed any more.
func (r *Replica) Complete(dir *disk.Dir, path string, record records.Record) error {
	err := r.SetRecord(dir, path, record)
	if err == nil && path == "" && r.linesLost.Load() {
		if err = r.records.SetStay(r.stay.String()); err == nil {
			r.linesLost.Store(false)
		}
	}
	return err
}

// IsCompleted reports whether a directory with this record and info was completed
// with that stamp and not touched since.
func (r *Replica) IsCompleted(record records.Record, info disk.Info, stamp mtree.Stamp) bool {
	return record.Stamp == stamp && info.MTime == r.Times.Stored(stamp) // guard (without record.Stamp): TestIsCompleted
}

// IsComplete reports whether a directory in dir, which is at parent, is complete with
// that stamp; have is its entry. Cost: nothing if its mtime differs, or if it was found
// complete before and has not changed; else openat, statx, getxattr and close.
func (r *Replica) IsComplete(dir *disk.Dir, parent string, stamp mtree.Stamp, have *mtree.Entry) bool {
	if have.MTime != r.Times.Stored(stamp) {
		return false
	}
	path := mtree.JoinPath(parent, have.Name)
	if r.proven.has(path, stamp, have) {
		return true
	}
	sub, err := dir.OpenDir(have.Name)
	if err != nil {
		return false
	}
	defer sub.Close()
	info, err := sub.Self()
	if err != nil {
		return false
	}
	record, ok, err := r.Record(sub, path)
	if err != nil || !ok || !r.IsCompleted(record, info, stamp) {
		return false
	}
	r.proven.add(path, record, info)
	return true
}

// SetNow changes the `now` of a directory's record. Cost: one getxattr, one setxattr.
func (r *Replica) SetNow(dir *disk.Dir, path string, now mtree.Stamp) error {
	r.beginning.Lock()
	defer r.beginning.Unlock()
	record, known, err := r.Record(dir, path)
	if err != nil || !known || record.Now == now {
		return err
	}
	record.Now = now
	return r.SetRecord(dir, path, record)
}

// SetOptions says under which options of serve the entries of a directory were listed, and that
// none was left out. Cost: one getxattr, one setxattr.
func (r *Replica) SetOptions(dir *disk.Dir, path, fingerprint string) error {
	r.beginning.Lock()
	defer r.beginning.Unlock()
	record, known, err := r.Record(dir, path)
	if err != nil || !known {
		return err
	}
	record.Excluded, record.Fingerprint = 0, fingerprint
	return r.SetRecord(dir, path, record)
}

// Begin notes that something in dir is about to change, and what is doubted in it from
// now on. listed is the record that it will have once it is complete with this listing.
//
// If the record is missing or lacks `now` and id, it gets those of the listing. It also
// gets the listing's number of entries left out if that is lower than before, or if a
// serve with other options left them out: the copy may soon have entries that are hidden
// again later.
//
// Without a listing (listed is the zero value), a directory without a record gets none:
// it is unfinished anyway, and a record without `now` and id would say that its files
// need no sums. Cost: one getxattr, the first time one setxattr.
func (r *Replica) Begin(dir *disk.Dir, path string, listed records.Record, doubts Doubts) error {
	r.beginning.Lock()
	defer r.beginning.Unlock()
	record, known, err := r.Record(dir, path)
	if err != nil { // guard: TestARecordThatCannotBeRead
		return err
	}
	in := r.stay
	if r.linesLost.Load() { // guard: TestLinesAreMissedUntilTheRootIsComplete
		in = 0 // not all files may be compared yet
	}
	if !known {
		if listed == (records.Record{}) && doubts == 0 {
			return nil
		}
		record = listed
	} else if had, begun := DoubtsOf(record); begun {
		doubts |= had           // guard: TestBeginKeepsDistrust
		in, _ = begunIn(record) // not all files may be compared yet
	}
	to := doubts.stamp(in)
	shows := listed.Stamp != mtree.Stamp{} && (listed.Fingerprint != record.Fingerprint || listed.Excluded < record.Excluded)
	lacks := record.Now == mtree.Stamp{} && listed.Now != mtree.Stamp{} || record.ID == "" && listed.ID != ""
	if known && record.Stamp == to && !shows && !lacks {
		return nil
	}
	if (record.Now == mtree.Stamp{}) {
		record.Now = listed.Now
	}
	record.ID = cmp.Or(record.ID, listed.ID)
	if shows {
		record.Excluded, record.Fingerprint = listed.Excluded, listed.Fingerprint
	}
	record.Stamp = to
	return r.SetRecord(dir, path, record)
}

// Recovered notes that all files of an unfinished directory were compared in this stay, or
// written: from now on they are known again by size and time.
func (r *Replica) Recovered(dir *disk.Dir, path string) error {
	r.beginning.Lock()
	defer r.beginning.Unlock()
	record, _, err := r.Record(dir, path)
	if in, begun := begunIn(record); !begun || in == r.stay {
		return err
	}
	doubts, _ := DoubtsOf(record)
	record.Stamp = doubts.stamp(r.stay)
	return r.SetRecord(dir, path, record)
}

// MarkUnfinished calls Begin for the directory at path and all above it.
func (r *Replica) MarkUnfinished(path string) error {
	for {
		dir, err := r.Dir(path)
		if err != nil {
			return err
		}
		err = r.Begin(dir, path, records.Record{}, 0)
		_ = dir.Close()
		if err != nil || path == "" {
			return err
		}
		path = mtree.ParentPath(path)
	}
}

// IsDoubted reports whether the root has any of these doubts, or may have: then the copy may
// still have what caused them.
func (r *Replica) IsDoubted(doubts Doubts) bool {
	if r.Root == nil {
		return false
	}
	record, _, err := r.Record(r.Root, "")
	had, _ := DoubtsOf(record)
	return had&doubts != 0 || err != nil
}

// Distrust marks the whole copy: its records are not trusted until a full walk has
// ended, also after a kill.
func (r *Replica) Distrust(more Doubts) error {
	if err := r.Begin(r.Root, "", records.Record{}, DoubtBelow|more); err != nil {
		return err
	}
	return r.Root.Sync() // the mark must be on disk before anything else is written
}

// Doubtful is the mtime of a file whose bytes may be wrong or may not have reached the
// disk. No source lists it, so that the file is fetched again.
var Doubtful = mtree.Unix(-2_147_480_000, 424_242_424)

// IsDoubtful reports whether a file with this mtime is one whose bytes are not to be trusted.
func (r *Replica) IsDoubtful(mtime mtree.Stamp) bool { return mtime == r.doubtful() }

// doubtful returns Doubtful, or another such time where the file system keeps no times that old
// (FAT and exFAT: none before 1980). It would be stored as that of every old file: Nix, OSTree and
// zip give such dates.
func (r *Replica) doubtful() mtree.Stamp {
	if Doubtful.Before(r.Times.Min) { // guard: TestDoubt
		return r.Times.Min.Add(424_242 * time.Second)
	}
	return Doubtful
}

// Doubt lets the next pass fetch files of the directory dir at path, which stays incomplete until
// then: they get the time Doubtful. A file with another name keeps its time, for that name may be in
// somebody's snapshot; so does one of which the time cannot be set. Then the record says that all
// files of the directory are to be compared by their sums. That does not show what the page cache
// still has and the disk has lost. Names that are gone, or no files, are left out. Cost: four statx
// and a utimensat for each file.
func (r *Replica) Doubt(dir *disk.Dir, path string, names []string) error {
	bySums := false
	for _, name := range names {
		info, err := dir.Stat(name)
		if disk.IsGone(err) || err == nil && info.Kind != mtree.File { // guard: TestDoubt
			continue
		}
		if err == nil && info.Links <= 1 { // guard (without info.Links): TestDoubt
			err = dir.SetEntryTime(name, r.doubtful())
		}
		bySums = bySums || err != nil || info.Links > 1 // guard (without info.Links): TestDoubt
	}
	if !bySums {
		return nil
	}
	return r.Begin(dir, path, records.Record{}, DoubtBytes)
}
