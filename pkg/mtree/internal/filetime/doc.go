// Package filetime knows which times file systems store: with which granule, between
// which ends, and what becomes of a time beyond them. It makes no system calls.
//
// A mirror measures the file system of its copy once ([Measure]), then knows what each
// time is stored as ([Range.Stored]). Readers of a copy do not know its range: they
// ask whether a time may be how another one was stored ([SameStored]).
//
//	r := filetime.Measure(granule, set) // set sets a file's time and reads it back
//	if have == r.Stored(want) { ... }   // the file has the time that it should have
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	measure.go   Measure: the ends, by setting times and reading them back
//	filetime.go  Range, and what can be said of times alone
package filetime
