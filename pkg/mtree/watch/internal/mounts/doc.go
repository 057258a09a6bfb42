// Package mounts follows the mounts below the root of a tree.
//
// No event of the tree shows that a mount came or went, and the directory's own time
// stays. But everything below its path is different then, so it counts as arrived. That
// holds without --cross-mounts, too: while a mount covered a directory, changes in the
// directory could not be stamped.
//
// With --cross-mounts, a bind mount may show a directory or a file of the tree at a
// second place in the tree. A change is heard at one place, and all places change: see
// Everywhere.
//
// Its files stand in layers. Each uses what stands below it:
//
//	follower.go
//	overlap.go
package mounts
