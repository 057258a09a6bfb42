// Package metrics is what answers on the addresses of --metrics and --pprof: the numbers of a program for
// Prometheus, a page for people, and Go's profiles.
//
//	end, err := metrics.Serve(log, "127.0.0.1:9177", metrics.Program{Name: "watch", Version: "1.2", Stats: stats.Each})
//	...
//	defer end()
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	metrics.go   --metrics and --pprof
//	page.go      the page for people there
//	room.go      free space
package metrics
