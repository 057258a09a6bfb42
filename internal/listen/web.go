package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sync/errgroup"

	"tidemark/internal/credentials"
	"tidemark/pkg/mtree/exit"
)

// Web is where and how serve listens.
type Web struct {
	Listen         []string // HOST:PORT or unix:PATH
	Cert, Key      string   // files; both or none
	ClientCA       string   // file of the CAs that must have signed client certificates; "": none is asked for
	MaxConnections int      // at once over all listeners; 0: as many as descriptors allow

	Listening func(addresses []string) // called once all are open, before Ready; may be nil

	Log    *slog.Logger
	Ready  func()                     // reports to systemd that it listens
	Notify func(text string)          // reports to systemd where
	Keep   func(credentials.Rereader) // says what SIGHUP reads again
}

// drain is how long requests under way may go on after a signal.
const drain = 3 * time.Second

// Serve answers on all listeners until ctx ends, and then lets requests under way
// finish. Sockets that systemd passes take the place of Listen.
func (w *Web) Serve(ctx context.Context, server Server) error {
	if w.MaxConnections < 0 {
		err := fmt.Errorf("at most %d connections: a number below zero", w.MaxConnections)
		return exit.With(exit.Usage, err, "give a positive number, or 0 for as many as descriptors allow")
	}
	config, clients, err := w.tls()
	if err != nil {
		return err
	}
	listeners, err := w.listeners(ctx)
	if err != nil {
		return err
	}
	gate := newGate(w.connections())
	group, groupCtx := errgroup.WithContext(ctx)
	var open *openConns
	if clients != nil {
		open = &openConns{all: map[net.Conn]struct{}{}}
		group.Go(func() error { return open.follow(groupCtx, clients) })
	}
	var addresses []string
	for _, l := range listeners {
		addresses = append(addresses, address(l, config != nil))
		w.Log.Info("listening", "address", addresses[len(addresses)-1])
		group.Go(func() error {
			l = &gatedListener{Listener: l, gate: gate, server: server, open: open}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			return server.Serve(l)
		})
	}
	if w.Listening != nil {
		w.Listening(addresses)
	}
	w.Notify("listening on " + strings.Join(addresses, ", "))
	w.Ready()
	<-groupCtx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close()
	}
	if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// address returns the URL or the socket of a listener.
func address(l net.Listener, secure bool) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	if secure {
		return "https://" + l.Addr().String() + "/"
	}
	return "http://" + l.Addr().String() + "/"
}

// listeners opens all addresses, or returns the sockets that systemd passes.
func (w *Web) listeners(ctx context.Context) ([]net.Listener, error) {
	listeners, err := activation.Listeners()
	if err == nil && len(listeners) > 0 {
		return listeners, nil
	}
	for _, addr := range w.Listen {
		l, err := listen(ctx, addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			if exit.Of(err) == exit.Usage {
				return nil, err
			}
			return nil, exit.With(exit.Local, err, listenRemedy(addr, err))
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// listenRemedy says what to do if nobody can listen on addr.
func listenRemedy(addr string, err error) string {
	switch {
	case errors.Is(err, syscall.EACCES) && strings.HasPrefix(addr, "unix:"):
		return "name a socket in a directory that this user may write to"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit): give it, or choose a port above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "give an address that this machine has"
	}
	return "choose another --listen address, or stop what listens there"
}

// listen opens one address. It replaces the unix socket of a server that was killed,
// but no socket that answers.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	path, unix := strings.CutPrefix(addr, "unix:")
	if unix && path == "" {
		return nil, exit.With(exit.Usage, errors.New("unix: names no socket"), "give HOST:PORT or unix:PATH")
	}
	if !unix {
		if err := CheckAddress(addr); err != nil {
			return nil, exit.With(exit.Usage, err, "give HOST:PORT or unix:PATH")
		}
		return config.Listen(ctx, "tcp", addr)
	}
	l, err := config.Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if conn, dialErr := net.DialTimeout("unix", path, time.Second); dialErr == nil {
		_ = conn.Close()
		return nil, err
	}
	if info, statErr := os.Lstat(path); statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return config.Listen(ctx, "unix", path)
}

// tls returns the TLS configuration, nil for plain HTTP; with --client-ca also the
// configuration that each handshake uses. Certificate and CAs are read again when their
// files change, so they can be renewed under a running server.
func (w *Web) tls() (config *tls.Config, clients *credentials.Kept[*tls.Config], err error) {
	if (w.Cert == "") != (w.Key == "") {
		return nil, nil, exit.With(exit.Usage, errors.New("--tls-cert and --tls-key go together"), "give both")
	}
	if w.Cert == "" {
		if w.ClientCA != "" {
			return nil, nil, exit.With(exit.Usage, errors.New("--client-ca needs TLS"), "give --tls-cert and --tls-key")
		}
		return nil, nil, nil
	}
	pair, err := credentials.Keep(w.Log, func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(w.Cert, w.Key) // fails while only one of the two is renewed
		return &pair, err
	}, w.Cert, w.Key)
	if err != nil {
		return nil, nil, exit.With(exit.Usage, err, "check --tls-cert and --tls-key")
	}
	w.Keep(pair)
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil }
	plain := func() *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: get, NextProtos: []string{"h2", "http/1.1"}}
	}
	config = plain()
	if w.ClientCA == "" {
		return config, nil, nil
	}
	clients, err = credentials.Keep(w.Log, func() (*tls.Config, error) {
		pool, err := credentials.ReadCAs(w.ClientCA)
		c := plain()
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
		return c, err
	}, w.ClientCA)
	if err != nil {
		return nil, nil, err
	}
	w.Keep(clients)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return clients.Get(), nil }
	return config, clients, nil
}

// connections returns how many connections may be open at once: half of the descriptors
// that this process may have are for files and directories.
func (w *Web) connections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return w.MaxConnections
	}
	most := int(min(limit.Cur/2, math.MaxInt32))
	if w.MaxConnections == 0 || w.MaxConnections > most {
		if w.MaxConnections > 0 {
			w.Log.Info("fewer connections at once than --max-connections",
				"connections", most, "limit", limit.Cur, "remedy", "raise the limit of descriptors: ulimit -n, or LimitNOFILE= in a unit")
		}
		return max(most, 1)
	}
	return w.MaxConnections
}
