// Package disk works on directories and files of the local Linux file system by
// descriptor: with single names, nanosecond times that reach beyond int64, and errors
// that wrap *fs.PathError.
//
// A [Dir] is an open directory. Nothing here follows a symlink below the root or leaves
// it: names are single components, and longer paths are opened by package beneath
// ([Dir.OpenFilePath]). Nothing is changed on another file
// system that is mounted in the tree.
//
// A [Staging] is the directory in which a copy's files are written before they get their
// names. [TempFile.Place] and [TempDir.Place] are atomic: the name has the old or the new
// file, never a part. Nothing is durable before a call of [Dir.Flush], [Dir.SyncFile],
// [Dir.Sync] or [TempFile.Sync].
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	move.go                  what moves entries out of a copy
//	copyrange.go             what a file shares with another, or copies from it
//	tempdir.go, tempfile.go  a directory or file that does not have its name yet
//	staging.go               Staging: where they are made
//	prune.go, remove.go      removing trees, up to the borders of others
//	inherit.go               group and setgid bit of what is made elsewhere
//	change.go                names, modes, owners, times
//	flush.go                 what makes changes durable
//	path.go, regular.go      paths of several components
//	scan.go                  reading a directory
//	dir.go                   Dir
//	times.go, stat.go        utimensat(2), statx(2)
//	errors.go                errors, and what they mean
//
// # Example
//
//	root, err := disk.OpenRoot("/srv/copy")
//	...
//	f, err := staging.Create(root, "name", true, 0o644)
//	...
//	defer f.Discard()
//	_, err = f.Write(contents)
//	...
//	err = f.Place(root, "name")
package disk
