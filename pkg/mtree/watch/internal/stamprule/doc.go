// Package stamprule is the arithmetic of stamps: which time of a changed entry counts,
// and which time its directory gets. It imports the core only, does no I/O, and reads the
// clock that it is given.
//
// docs/timestamps.md explains the rule.
//
// Its files stand in layers. Each uses what stands below it:
//
//	rule.go
//	clock.go
package stamprule
