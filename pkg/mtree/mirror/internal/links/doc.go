// Package links remembers which names of a copy are one file (hard links), so that a later pass links a
// new name in the place of fetching it, and finds the other names of a file that changed.
//
// An [Index] is a text file in the marker of a copy, to which a line is appended for each name:
//
//	SAME INODE SIZE MTIME CTIME KEPT BEFORE PATH CRC
//
// SAME, SIZE, MTIME and CTIME are as the source lists them. INODE and KEPT are inode number and ctime of
// the file in the copy. BEFORE is where the line of another name of the same file begins, and PATH is
// escaped. In a line of a name that is no link any more SAME is 0. The first line says for which root
// the file was written.
//
// What it promises: nothing about the copy. Whoever links to a name compares what the copy has there with
// the line first. An index that is lost, or that was cut at any byte, costs transfers and separate files,
// never bytes. What is noted is written by Commit, which is called after the files are on the disk.
//
// Memory: 8 bytes for each name and 8 for each file, in tables that are at least three eighths full: 64 MiB
// at most, for three million names. With more names everything is forgotten; the names that follow are
// noted again, and a full walk notes all it meets. The file has some 150 bytes a name, and is written anew
// at a start if most of it is out of date.
//
// Its files stand in layers. Each uses what stands below it:
//
//	index.go    Index: what is known of names and files
//	log.go      the file: lines that are appended, and read one by one
//	line.go     one line
//	table.go    a hash table from names, or files, to lines
//
// Example:
//
//	f, ok := index.Find(entry.Same)
//	...
//	index.Note(links.File{Same: entry.Same, ...})
//	...
//	index.Commit(true)
package links
