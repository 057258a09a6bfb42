package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sync/errgroup"

	"tidemark/pkg/mtree/exit"
)

// Web is where and how serve listens.
type Web struct {
	Listen         []string // HOST:PORT or unix:PATH
	Cert, Key      string   // files; both or none
	ClientCA       string   // file: client certificates are wanted
	MaxConnections int      // at once over all listeners; 0: as many as descriptors allow
}

// Server is an http.Server, or what is used like one.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// drain is how long running requests may go on after a signal.
const drain = 3 * time.Second

// Serve answers on all listeners until ctx ends, then lets running requests
// finish. Sockets passed by systemd take the place of Listen.
func (w *Web) Serve(ctx context.Context, env *Env, server Server) error {
	if w.MaxConnections < 0 {
		err := fmt.Errorf("at most %d connections: a number below zero", w.MaxConnections)
		return exit.With(exit.Usage, err, "give a positive number, or 0 for as many as descriptors allow")
	}
	config, err := w.tls()
	if err != nil {
		return err
	}
	listeners, err := w.listeners(ctx)
	if err != nil {
		return err
	}
	gate := newGate(w.connections(env))
	group, groupCtx := errgroup.WithContext(ctx)
	var addresses []string
	for _, l := range listeners {
		addresses = append(addresses, address(l, config != nil))
		env.Log.Info("listening", "address", addresses[len(addresses)-1])
		group.Go(func() error {
			l = &gatedListener{Listener: l, gate: gate, server: server}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			return server.Serve(l)
		})
	}
	env.Notify("listening on " + strings.Join(addresses, ", "))
	env.Ready()
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

func address(l net.Listener, secure bool) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	if secure {
		return "https://" + l.Addr().String() + "/"
	}
	return "http://" + l.Addr().String() + "/"
}

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

// listenRemedy says what to do where nobody can listen.
func listenRemedy(addr string, err error) string {
	switch {
	case errors.Is(err, syscall.EACCES) && strings.HasPrefix(addr, "unix:"):
		return "name a socket in a directory that this user may write to"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 want CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit): give it, or choose a port above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "give an address that this machine has"
	}
	return "choose another --listen address, or stop what listens there"
}

// checkAddress reports why addr is not HOST:PORT.
func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err
}

// listen opens one address. A unix socket left behind by a killed server is
// replaced, one that answers is not.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	path, unix := strings.CutPrefix(addr, "unix:")
	if unix && path == "" {
		return nil, exit.With(exit.Usage, errors.New("unix: names no socket"), "give HOST:PORT or unix:PATH")
	}
	if !unix {
		if err := checkAddress(addr); err != nil {
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

// tls returns the TLS configuration, nil for plain HTTP. The certificate is
// read anew when its file changes, so it can be renewed under a running server.
func (w *Web) tls() (*tls.Config, error) {
	if (w.Cert == "") != (w.Key == "") {
		return nil, exit.With(exit.Usage, errors.New("--tls-cert and --tls-key go together"), "give both")
	}
	if w.Cert == "" {
		if w.ClientCA != "" {
			return nil, exit.With(exit.Usage, errors.New("--client-ca needs TLS"), "give --tls-cert and --tls-key")
		}
		return nil, nil
	}
	keeper := &certKeeper{cert: w.Cert, key: w.Key}
	if _, err := keeper.get(nil); err != nil {
		return nil, exit.With(exit.Usage, err, "check --tls-cert and --tls-key")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: keeper.get, NextProtos: []string{"h2", "http/1.1"}}
	if w.ClientCA != "" {
		pool, err := readCAs(w.ClientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return config, nil
}

func readCAs(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%q holds no PEM certificate", file)
	}
	return pool, exit.With(exit.Usage, err, "name a file of PEM certificates")
}

// certKeeper holds a certificate as long as its file does not change.
type certKeeper struct {
	cert, key string

	mu      sync.Mutex // guards what follows
	modTime time.Time
	loaded  *tls.Certificate
}

func (k *certKeeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.cert)
	if err == nil && k.loaded != nil && info.ModTime().Equal(k.modTime) {
		return k.loaded, nil
	}
	if err == nil {
		var cert tls.Certificate
		if cert, err = tls.LoadX509KeyPair(k.cert, k.key); err == nil {
			k.loaded, k.modTime = &cert, info.ModTime()
		}
	}
	if k.loaded != nil {
		return k.loaded, nil // a half-written renewal: the old one still holds
	}
	return nil, err
}

// ReadTokens reads a file of bearer tokens, one a line; empty lines and those
// that begin with # are skipped.
func ReadTokens(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, exit.With(exit.Usage, err, "check --token-file")
	}
	defer f.Close()
	var tokens []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			tokens = append(tokens, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, exit.With(exit.Usage, err, "check --token-file")
	}
	if len(tokens) == 0 {
		return nil, exit.With(exit.Usage, fmt.Errorf("%q holds no token", file), "check --token-file")
	}
	return tokens, nil
}

// connections returns how many may be open at once: half of the descriptors that
// this process may have are for files and directories.
func (w *Web) connections(env *Env) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return w.MaxConnections
	}
	most := int(min(limit.Cur/2, math.MaxInt32))
	if w.MaxConnections == 0 || w.MaxConnections > most {
		if w.MaxConnections > 0 {
			env.Log.Info("fewer connections at once than --max-connections: raise the limit of descriptors (LimitNOFILE=)",
				"connections", most, "limit", limit.Cur)
		}
		return max(most, 1)
	}
	return w.MaxConnections
}

// gate bounds the connections open at once.
type gate chan struct{}

func newGate(n int) gate {
	if n <= 0 {
		return nil
	}
	return make(gate, n)
}

// gatedListener leaves connections beyond the bound in the kernel's backlog
// until one is closed: the server is asked to close those that nobody uses.
type gatedListener struct {
	net.Listener
	gate   gate
	server Server
}

// enter takes a place for one more connection.
func (l *gatedListener) enter() {
	idler, _ := l.server.(interface{ CloseIdle() bool })
	for {
		select {
		case l.gate <- struct{}{}:
			return
		default:
		}
		if idler == nil {
			l.gate <- struct{}{}
			return
		}
		idler.CloseIdle()
		select {
		case l.gate <- struct{}{}:
			return
		case <-time.After(askIdle):
		}
	}
}

// askIdle is how often the server is asked to close a connection that nobody uses.
const askIdle = 20 * time.Millisecond

func (l *gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.gate == nil {
		return conn, err
	}
	l.enter()
	// A *net.TCPConn is kept as it is underneath: sendfile(2) needs it.
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &gatedTCP{TCPConn: tcp, gate: l.gate}, nil
	}
	return &gatedConn{Conn: conn, gate: l.gate}, nil
}

type gatedTCP struct {
	*net.TCPConn
	gate gate
	once sync.Once
}

func (c *gatedTCP) Close() error {
	c.once.Do(func() { <-c.gate })
	return c.TCPConn.Close()
}

type gatedConn struct {
	net.Conn
	gate gate
	once sync.Once
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { <-c.gate })
	return c.Conn.Close()
}
