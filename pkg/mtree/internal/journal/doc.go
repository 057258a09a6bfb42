// Package journal keeps and reads the journal of a tree: which names changed in which
// directories, written down by watch (and by a mirror for its copy) before it stamps them.
// With it a reader asks for the names that changed instead of whole listings.
//
// The journal is an accelerator, never a ground of truth. Whoever cannot prove that it
// covers what he needs goes by whole listings. So everything here that cannot be proved is
// an error of [Follower.Read], or an answer that says "whole".
//
// # Format
//
// The files are .tidemark/journal.0 and journal.1, text, appended to in turn:
//
//	#journal 1 HT TREE HT EPOCH HT BOOT HT RUN HT NUMBER LF
//	+NUMBER HT FLOOR LF
//	./a/b/ HT FROM HT TO *( HT NAME ) LF
//	-CRC32 LF
//
// A file begins with the head, and has any number of batches behind it. NUMBER in a head is
// that of the first batch in the file. Paths and names are escaped as in listings; the name
// of a directory ends in a slash. "*" in the place of the names: they are not known. "**":
// nor is anything known of the directories below. "-" for FROM and TO: no reader has a stamp
// for which the names suffice; with "*", that somebody may have set who may read the
// directory. CRC32 (IEEE, 8 hex digits) is that of the batch from "+" to the line end before
// "-".
//
// # What proves that the journal is whole
//
// The writer holds an open-file-description lock in the file that it appends to, and the
// offset of the lock is the number of the last batch that it wrote. It moves the lock before
// it returns from [Writer.Write], so before its caller stamps anything. A batch that cannot
// be written ends the run: the lock is given up before the batch is stamped, and is taken
// again only behind the head of another run.
//
// A reader therefore reads the stamp of a directory first, then the tail of the journal,
// then the lock, then the heads again. If there is no lock, or if it tells of a batch that
// the reader has not found, the journal proves nothing. So it does not matter in which way
// a file was cut, replaced, put back or lost.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	writer.go    Writer: the one who writes
//	follower.go, reading.go
//	             Follower, and its readings, in the order that proves that they are whole
//	files.go     names, modes and locks of the two files
//	view.go      View: what readers ask
//	index.go     directory to lines, bounded in bytes
//	parse.go     text to heads and batches
//	format.go    heads and batches as text
//	batch.go     Head, Batch, Line
//
// # Example
//
//	view, err := follower.Read(marker, journal.Tree{ID: tree.ID, Epoch: tree.Epoch}) // after s0
//	if err != nil {
//		... // whole listings
//	}
//	told := view.Told("photos/2026", since)
package journal
