// Package handles finds the path of the directory or file that a file handle names.
//
// An event of fanotify names its directory by a handle (name_to_handle_at(2)), not by a
// path. A Resolver opens it (open_by_handle_at(2)), asks for its path and says whether
// that is below a root. Recently used directories stay open, and it
// remembers paths and which directories are outside.
//
// A path that is already out of date does no harm: it is as if the Resolver had been
// asked a moment before the rename, whose event is still to come and restamps everything
// concerned.
//
// Its files stand in layers. Each uses what stands below it:
//
//	find.go        Dir, File, Remounted
//	open.go        handles to descriptors
//	climb.go       directories that are too deep for readlink
//	resolver.go    what is known
//	mount.go
//	handle.go
package handles
