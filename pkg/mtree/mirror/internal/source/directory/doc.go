// Package directory reads a source that is a directory of this machine, or mounted here,
// by the same rules by which serve publishes one. Dotfiles are part of it, for nothing is
// published. See package source for the methods of Source.
//
//	src, err := directory.Open(directory.Config{Path: "/srv/tree"})
//	defer src.Close()
//	root, err := src.Root(ctx, source.Poll{})
//
// What it promises beside that: what is mounted in the tree is read only if watch hears
// its changes; where the path leads to another directory than before, because a mount
// went or a symlink was changed, Root says so with source.ErrOtherDirectory before it
// reads that one.
//
// SumFiles also hashes the files of a copy.
//
// Its files stand in layers. Each uses what stands below it:
//
//	fetch.go                        Fetch
//	sums.go                         Sums, SumFiles
//	directory.go, open.go, last.go  Config, Source, Open, Root, List; a directory with what is
//	                                published about its tree; the directory that was opened last
package directory
