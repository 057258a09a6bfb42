// Package ownwrites remembers a watcher's own writes of directory times.
//
// It serves two purposes. If a directory still shows what our write left, then its event
// is that of our write, not of somebody else's. And an audit need not count such a
// directory as arrived under its name: its young ctime is ours. The second is safe only
// with a proof; see Memory.
//
// Given remembers which stamp each directory was given last, for the journal. Awaited counts the
// writes whose events are still to come.
//
// Its files stand in layers. Each uses what stands below it:
//
//	awaited.go, given.go
//	memory.go
//	place.go
package ownwrites
