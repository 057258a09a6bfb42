// Package trigger gives the changes of published batches to the command of --exec (Hook)
// and to the reader of --print (Printer). Neither can stop a watcher from stamping,
// however slow it is.
//
// The goroutine that owns a Hook or a Printer calls all its methods.
//
// Its files stand in layers. Each uses what stands below it:
//
//	hook.go, printer.go
//	group.go               process groups
//	change.go
package trigger
