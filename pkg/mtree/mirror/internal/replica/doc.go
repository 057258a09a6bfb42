// Package replica is the copy on disk: who it is a copy of, which of its directories
// are complete, what is held and what is published of it.
//
//	r, err := replica.Open(&replica.Options{Path: "/srv/copy", Log: log, Now: machine.Now})
//	dir, err := r.Dir("a/b")
//	err = r.Begin(dir, "a/b", listed, 0)    // before anything in it is changed
//	...
//	err = r.SetRecord(dir, "a/b", listed)   // it is complete: with its stamp as mtime
//
// What it promises: a directory that is not complete is known to be so at any moment,
// also after a kill (Begin); one process at a time changes a copy (Open takes the lock);
// a deletion that takes a tree away takes it as a whole or not at all, and spares what
// filters exclude (Delete); status.json names no paths; nothing is written outside of
// the copy and its state directory. A Look reads a copy that somebody else keeps.
//
// One goroutine, which runs passes, calls the methods. The steps of a pass, in goroutines
// of their own, call these only: Dir, Tree, Record, SetRecord, Begin, IsComplete,
// IsCompleted, Measure, Delete, Abandon, TreeFile and StoreDeletions.
//
// Its files stand in layers. Each uses what stands below it:
//
//	open.go                          to change a copy: may it be one, and the lock
//	look.go                          to read a copy that somebody else may keep
//	release.go                       the deletions that somebody released
//	deny.go                          directories that the source does not give
//	status.go                        what is published of the copy
//	delete.go                        what a deletion takes away, and carrying it out
//	record.go, lists.go              what is known of a directory and what is doubted; lists in files
//	replica.go                       Replica, and who it is a copy of
//	held.go, uncopied.go, unread.go  the lists: held deletions, entries left out, directories not given
//	deletion.go, proven.go           what has to go; directories known to be complete
//	host.go, errors.go               what is asked of this machine; failures of the disk and their remedies
package replica
