// Package listen is where and how serve listens: on addresses, unix sockets and sockets of systemd, over
// TLS, with a bound on the connections.
//
//	web := listen.Web{Listen: []string{"127.0.0.1:8077"}, Log: log, Ready: ready, Notify: notify, Keep: keep}
//	err := web.Serve(ctx, &http.Server{Handler: handler}) // until ctx ends
//
// # Files
//
// Its files stand in layers. Each uses what stands below it:
//
//	web.go       listens, and serves until the end
//	gate.go      how many connections may be open
//	address.go   HOST:PORT
package listen
