// Package actions tells what a mirror did to its copy: in lines for the reader of --print
// (Printer), and in paths for the command of --exec (Paths).
//
//	1707019506.123456789	create	a/b/
//	1707019506.123456789	update	a/f
//	1707019506.123456789	delete	a/old
//
// Neither can stop a pass, however slow its reader is, and both are bounded in memory.
//
// The goroutine that owns a Printer or a Paths calls all its methods.
//
// Its files stand in layers. Each uses what stands below it:
//
//	printer.go, paths.go
//	line.go                what was done to one name
package actions
