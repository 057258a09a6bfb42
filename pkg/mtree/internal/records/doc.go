// Package records is what a copy remembers of each of its directories: the listing from
// which the directory was last completed. A directory of a copy is complete if it has a
// record and its mtime is still the stamp in it ([Complete]).
//
// If the file system has user extended attributes, the record is an attribute of the
// directory itself ([Of], [Set]) and moves, and vanishes, with it. Elsewhere a [Log] in
// the marker holds all records, by path. A mirror opens it with [OpenLog]; serve, which
// reads a copy that a mirror keeps, uses a [LogReader].
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	reader.go  LogReader: the log of a copy that somebody else keeps
//	log.go     Log
//	xattr.go   the extended attribute
//	record.go  Record and its text
//
// # Example
//
//	record, ok := records.Of(dir)
//	if ok && record.Stamp == listing.Stamp { ... } // nothing is new below
package records
