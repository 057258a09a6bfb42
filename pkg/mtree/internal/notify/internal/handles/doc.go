// Package handles finds out where the directory or file is that a file handle names.
//
// An event of fanotify names its directory by a handle (name_to_handle_at(2)), not by a
// path. A Resolver opens it (open_by_handle_at(2)), asks for its path and says whether
// that is below a root. Recently used directories stay open, and it
// remembers paths and which directories are outside.
//
// A path that is out of date already, its event still to come, does no harm. It would do
// none either if the Resolver had been asked a moment before the rename: that event
// restamps everything that it concerns.
//
// Each uses what stands below it:
//
//	find.go        Dir, File, Remounted
//	open.go        handles to descriptors
//	climb.go       directories that are too deep for readlink
//	resolver.go    what is known
//	mount.go
//	handle.go
package handles
