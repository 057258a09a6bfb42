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
// Where a method says nothing else, the goroutine that runs passes calls it. The steps
// of a pass, in goroutines of their own, call Dir, Record, SetRecord, Begin, IsComplete,
// Measure, Delete, Abandon, Counters and UpdateStatus.
//
// Files in layers, each may use those beside and below it:
//
//	open.go look.go             to change a copy, and to read it only
//	release.go                  the deletions that somebody released
//	deletion.go unread.go       what has to go; directories that the source does not give
//	status.go record.go         what is published; what is known of a directory
//	replica.go                  Replica, and who it is a copy of
//	held.go uncopied.go proven.go errors.go
package replica
