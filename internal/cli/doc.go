// Package cli is what the three commands share around their one call: options
// from command line and environment, signals, sd_notify, exit codes. docs/cli.md
// is its manual.
//
//	cli.Main(cli.Command{Name: "serve", Args: []string{"DIR"}, Flags: define, Run: run})
//
// What stands behind options is elsewhere: --log-format in console and logbook, --metrics and
// --pprof in metrics, files of tokens and certificates in credentials, --listen in listen.
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	cli.go, options.go, requests.go, complete.go, results.go
//	                     runs a Command; its options; SIGHUP and SIGUSR1; what shells complete; results that are lost
//	notices.go           sd_notify
//	unit.go              what the unit of a service may forbid
//	garbage.go           when garbage is collected
//	version.go           the version of this build
package cli
