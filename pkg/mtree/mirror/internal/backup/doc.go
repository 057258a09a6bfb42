// Package backup keeps what a mirror would delete or overwrite: --backup-dir. It is moved
// into a directory on the same file system, with its bytes, modes, times and owners, under
// the time of the pass:
//
//	DIR/2026-11-30T21-37-43.482Z-1a2b3c4d/path/in/the/copy
//
//	b, err := backup.Open(&backup.Options{Dir: "../backup", Dest: "/srv/copy", Root: root, ...})
//	err = b.Begin(now)                                // a pass begins
//	n, err := b.Move(dir, "name", disk.Prune{Path: "a/name"})                  // instead of deleting
//	done, err := b.Overwrite(dir, "name", "a/name", place)                     // before place renames over it
//	err = b.Sync()                                    // before anything is stamped
//
// What it promises: at any moment, also after a kill, both the old and the new entry are
// there, and the name in the copy is never free in between, but for directories that are
// replaced where the file system exchanges no names (NFS). What cannot be kept is an error,
// and then nothing is deleted or overwritten. Nothing in a backup is ever overwritten: a path
// that is taken goes under a later time. A file that has other names in the copy is still
// that file.
//
// The last part of a name is a checksum of the time and of the copy. So Expire removes what
// this copy made, and nothing that another mirror or a person has put there.
//
// Its files stand in layers. Each uses what stands below it:
//
//	expire.go               --backup-keep
//	overwrite.go, move.go   entries that get a place in the backup
//	into.go                 where in the backup
//	backup.go, place.go, sync.go
//	                        Dir from pass to pass; where it may lie; what makes it durable
//	name.go                 names of the directories in it
package backup
