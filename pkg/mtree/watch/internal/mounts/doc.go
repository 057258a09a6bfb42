// Package mounts follows the mounts below the root of a tree.
//
// No event of the tree says that a mount came or went, and the directory's own time
// stays. Yet everything below its path is something else then, so it counts as arrived.
// That holds without --cross-mounts, too: nobody could stamp the changes in a
// directory while a mount covered it.
//
// With --cross-mounts a bind mount may show a directory or a file of the tree at a
// second place of it. A source of events hears a change at one of them, and all of them
// change: see Everywhere.
//
// Each uses what stands below it:
//
//	follower.go
//	overlap.go
package mounts
