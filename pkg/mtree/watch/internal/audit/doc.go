// Package audit scans a whole tree for changes that no event reported.
//
// A directory counts as changed by ctimes, which nobody can set: its own, or that of an
// entry (judge.go). Each directory is armed before it is listed, so that a change is
// either in the listing or heard. Findings go to the one goroutine that writes,
// as values; the scan itself writes nothing.
//
// Its files stand in layers. Each uses what stands below it:
//
//	audit.go        Run and its workers
//	directory.go    what is done with one directory
//	judge.go        whether it changed
//	scan.go         the state of a scan, and the way of its findings
//	finding.go      what comes out
package audit
