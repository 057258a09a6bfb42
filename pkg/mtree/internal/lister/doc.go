// Package lister reads a directory of the disk as a listing of the protocol. It is
// the only package that does: serve and a mirror with a local source list the tree
// by [Lister.Read], a mirror lists its copy by [Present].
//
// # The reading rule
//
// A listing with the stamp v must show every change that was published with a stamp
// at or below v. Read therefore reads the directory's stamp first, then the names,
// and then the stamp again. If the two stamps differ, it reads again, three times at
// most, and then gives out the earlier stamp and marks the listing hot: readers do
// not rely on its stamp. So it does if the directory was moved away while it was open: a
// stamp that it was given at its new path says nothing of the old one. Read never returns a
// short listing: any error means that nothing is known.
//
// Where it is written down which names change (Lister.Changed), Read looks again at these names
// only, until the stamp is the same before and after. What was read at first shows all that was
// published with the first stamp, and these names are what changed since: so the listing is not hot.
//
// A part of a listing, for readers who lack only the names that changed since, is read in the
// same way: the stamp, then (by the caller) which names those are, the names, the stamp again.
//
// The stamp of a directory is its mtime, with two exceptions. watch keeps the stamps
// of directories that refuse their mtime (state.Exceptions), and a copy on a file system
// with whole seconds keeps the exact stamps in its records.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	read.go     the reading rule
//	catchup.go  a reading that was overtaken: the names that changed meanwhile
//	present.go  all names of a directory and what each was; some of them seen anew
//	part.go     some names of a directory, by the same rule
//	look.go     one look at each name: is it listed, and as what
//	lister.go   Lister: what is listed, and the stamp of a directory
//	names.go    nameTable: all names of a directory in one piece of memory, sorted
//	entry.go    an entry of a listing from what statx(2) shows
//	id.go       DirID: the opaque id of a directory, and that of a file with several names
//
// # Example
//
//	l := lister.Lister{TreeID: tree.ID}
//	listing, err := l.Read(dir, "photos/2026")
package lister
