// Package replica is the copy on disk: what it is a copy of, which of its directories
// are complete, which deletions are held and what is published of it.
//
//	r, err := replica.Open(&replica.Options{Path: "/srv/copy", Log: log, Now: machine.Now})
//	dir, err := r.Dir("a/b")
//	err = r.Begin(dir, "a/b", listed, 0)    // before anything in it is changed
//	...
//	err = r.SetRecord(dir, "a/b", listed)   // it is complete, and has its stamp as mtime
//
// What it promises: a directory that is not complete is known to be so at any moment,
// also after a kill (Begin); one process at a time changes a copy (Open takes the lock);
// a tree is deleted as a whole or not at all, without what filters exclude (Delete);
// status.json names no paths; nothing is written outside of the copy and its state
// directory. A Look reads a copy that another process may keep.
//
// The goroutine that runs passes calls the methods. The steps of a pass run in goroutines
// of their own and call only these: Dir, Tree, Record, SetRecord, Begin, IsComplete,
// IsCompleted, MayBeLost, Measure, Delete, Abandon, Place, PlaceStaged, PlaceDir, TreeFile, StoreDeletions and SetUntold.
//
// Its files stand in layers. Each uses what stands below it:
//
//	sources.go                       how several sources stand, in a file
//	open.go                          opening a copy to change it: whether it may be one, the lock
//	look.go                          reading a copy that another process may keep
//	release.go                       carrying out deletions that were released
//	deny.go                          directories that the source does not give
//	status.go                        what is published of the copy
//	delete.go, keep.go               measuring a deletion, and carrying it out; what goes into the backup directory
//	announce.go                      what is announced in the journal of the copy, and stamps
//	record.go, lists.go              what is known of a directory and what is doubted; lists in files
//	replica.go                       Replica, and what it is a copy of
//	held.go, uncopied.go, unread.go  the lists: held deletions, entries left out, directories not given
//	announcer.go                     what is known of the stamps that the copy has shown
//	deletion.go, proven.go           what has to go; directories known to be complete
//	host.go, stay.go, errors.go      paths of this machine; how long its disk lost nothing; failures of the disk and their remedies
package replica
