// Package identity decides which tree is at a root: whether a watcher may watch there,
// under which tree id, and whether it may rely on what earlier runs left.
//
// A tree is the directory that its id was made for (device, inode, birth time). A
// directory that was copied, restored or replaced is refused until the user says what
// it is (--same-tree, --new-tree), and so is a mirror's copy (--promote).
//
// Its files stand in layers. Each uses what stands below it:
//
//	claim.go       the root, its marker and its lock
//	identify.go    the decisions
//	identity.go    what was decided, and the doubts that remain
package identity
