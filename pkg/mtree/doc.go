// Package mtree is the core of tidemark: stamps, names, the listing codec and
// the comparison of listings. It does no I/O and asks no clock. (It is
// unrelated to mtree(8), the BSD tool that describes file hierarchies.)
//
// # The idea
//
// A directory's mtime becomes the tide mark of everything below it. The watch
// package copies the time of each change up into all ancestor directories, the
// serve package publishes directories as listings, and the mirror package polls
// the root and goes down only where a stamp differs from its copy. So the file
// system itself is a hash tree, with times in the place of hashes: "what
// changed among ten million files?" costs one request when nothing did, and one
// per level when one file did.
//
// Relatives: upspin's Sequence (a counter on every ancestor), Ceph's rctime
// (the newest time below a directory), the tiles of Certificate Transparency
// (a tree published as plain files that clients walk).
//
// # The text listing
//
//	listing = self *entry end
//	self    = STAMP SP "./" HT "-" *( HT attr ) LF
//	entry   = STAMP SP NAME [ "/" ] HT size *( HT attr ) LF
//	size    = 1*DIGIT / "-"
//	attr    = key "=" value
//	end     = "#end" SP count LF
//
// For example a directory of a file, a subdirectory and a symlink:
//
//	1707019506.123456789 ./	-	id=9f2c4e6a8b0d1f35	now=1707019510.000000000
//	1707019506.123456789 a%20b.txt	5	mode=0644	ctime=1707019506.123456789
//	1707019400.000000000 d/	-	mode=0755	ctime=1707019400.000000000
//	1707019300.000000000 latest	-	mode=0777	ctime=1707019300.000000000	link=a%20b.txt
//	#end 3
//
// Entries stand in bytewise order of their names. A listing without its end
// mark, or with another count, is incomplete and says nothing about what is
// not there. A part, which only an answer to "changes since" has, and only for those who
// asked for parts, speaks of some names alone: see Listing.Part. Unknown attributes are skipped, unless their key begins with a
// capital; "#" lines are comments. docs/protocol.md is the whole protocol, and
// testdata/ holds vectors for other implementations.
//
// # What it does not do
//
// It knows no paths of the local system, no HTTP and no time zones. A Stamp is
// a point in time for comparing by !=, not a clock.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	diff.go         which entries differ
//	listingtext.go  a listing as text and back
//	decoder.go      listings from a stream, with pieces.go: memory of large ones
//	selfline.go, entryline.go, trailer.go  the lines of the text
//	attr.go         KEY=VALUE in these
//	listing.go, part.go  Listing, errors; what parts have besides: spans, and names that are gone
//	entry.go        Entry
//	name.go         names and paths
//	stamp.go        Stamp
package mtree
