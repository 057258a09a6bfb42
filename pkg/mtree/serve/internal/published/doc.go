// Package published opens what serve publishes of a tree, and nothing else: nothing
// outside the root, nothing hidden, nothing that watch may not read, whatever the
// spelling, and through no symlink. It also knows the present state of the tree.
//
//	tree, err := published.Open(config)
//	s := tree.Now()                          // state, epoch, fingerprint
//	dir, err := tree.OpenDir("a/b")          // no symlinks are followed
//	listing, err := tree.Lister(s).Read(dir, "a/b")
//	file, real, info, err := tree.OpenFile("a/c")  // symlinks within the tree are followed
//
// Paths are relative to the root, decoded, with no slash at either end; "" is the root.
// Errors are those of package disk, also disk.ErrAbove, and of package state. Many goroutines
// may use a Tree at once.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	open.go, link.go                   opening directories and files; where symlinks lead
//	tree.go, snapshot.go, journal.go   Config and Tree: what is hidden, how directories are read;
//	                                   Snapshot: what the tree says of itself, read at most ten
//	                                   times a second; which names changed, as watch wrote it down
//	mounts.go                          what is left out because it is on another file system
package published
