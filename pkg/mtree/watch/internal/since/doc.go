// Package since tells what changed in a watched tree since a stamp: watch --since, for backup
// and copying programs that take a list of files.
//
//	err := since.Tell(ctx, since.Question{Root: root, Marker: marker, Since: stamp, Out: out, ...})
//
// # What it promises
//
// Whoever looks at each path, and at all entries of each path that ends in a slash, has seen
// everything that changed in the tree since its root had the stamp, and was published before
// Tell was called. A path need not have changed. One that does not exist was removed. It is the
// same if he goes on below paths that end in a slash: there may be more then than changed.
//
// # How
//
// The journal names what changed, at the cost of the changes. A directory whose names it does
// not know is told with a slash, and with those of its names that have a time after the stamp,
// for readers that look at names only. Where a directory arrived, everything below it is told.
//
// Where the journal does not reach back to the stamp, or proves nothing, the stamps tell which
// directories to look at: those above the stamp, from the root down. They are told as
// directories whose names are not known. Where stamps prove nothing either, everything is told.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	tell.go       Tell: which way it goes
//	byname.go     by the journal
//	bystamp.go    by the stamps, and everything
//	list.go       Question, and how paths are written
package since
