// Package console is what a program writes to stderr: its log, in the format that fits who reads it, above one
// line of progress if that is a terminal. Nobody waits for a reader that is slow or gone.
//
//	out, end := console.NewErrorOutput(os.Stderr, lost)
//	defer end()
//	line := console.NewStatusLine(out) // nil: it is no terminal
//	handler, err := console.NewHandler("auto", "info", out, line)
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	log.go          the formats of the log
//	statusline.go   progress on a terminal
//	stderr.go       a log whose reader may be slow
package console
