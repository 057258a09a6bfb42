package listen

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"tidemark/internal/credentials"
)

// Server is used like an http.Server. If it has CloseIdle() bool as well, that is
// called to make room for new connections.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// gate bounds the connections open at once.
type gate chan struct{}

// newGate returns a gate for n connections; nil, without a bound, if n is 0.
func newGate(n int) gate {
	if n <= 0 {
		return nil
	}
	return make(gate, n)
}

// gatedListener leaves connections beyond the bound in the kernel's backlog until one
// is closed. It asks the server to close connections that nobody uses.
type gatedListener struct {
	net.Listener
	gate   gate
	server Server
	open   *openConns // nil: nobody needs to know which are open
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

// Accept returns the next connection for which there is room.
func (l *gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.gate == nil {
		return conn, err
	}
	l.enter()
	// A *net.TCPConn must stay recognizable: sendfile(2) needs it.
	if tcp, ok := conn.(*net.TCPConn); ok {
		conn := &gatedTCP{TCPConn: tcp, gate: l.gate, open: l.open}
		l.open.add(conn)
		return conn, nil
	}
	gated := &gatedConn{Conn: conn, gate: l.gate, open: l.open}
	l.open.add(gated)
	return gated, nil
}

// openConns are the connections that are open. All its methods but follow may be called
// on nil.
type openConns struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

// add notes an open connection.
func (o *openConns) add(c net.Conn) {
	if o != nil {
		o.mu.Lock()
		o.all[c] = struct{}{}
		o.mu.Unlock()
	}
}

// remove forgets a closed connection.
func (o *openConns) remove(c net.Conn) {
	if o != nil {
		o.mu.Lock()
		delete(o.all, c)
		o.mu.Unlock()
	}
}

// follow closes all connections when the file of --client-ca changed, until ctx ends.
// Clients that may come back do so, with a new handshake.
func (o *openConns) follow(ctx context.Context, clients *credentials.Kept[*tls.Config]) error {
	ticker := time.NewTicker(credentials.LookEvery)
	defer ticker.Stop()
	for last := clients.Get(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now := clients.Get(); now != last {
			last = now
			o.closeAll()
		}
	}
}

// closeAll closes all open connections.
func (o *openConns) closeAll() {
	o.mu.Lock()
	all := slices.Collect(maps.Keys(o.all))
	o.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// gatedTCP is a connection over TCP that leaves the gate when it is closed.
type gatedTCP struct {
	*net.TCPConn
	gate gate
	open *openConns
	once sync.Once
}

// Close closes the connection.
func (c *gatedTCP) Close() error {
	c.once.Do(func() { <-c.gate; c.open.remove(c) })
	return c.TCPConn.Close()
}

// gatedConn is another connection that leaves the gate when it is closed.
type gatedConn struct {
	net.Conn
	gate gate
	open *openConns
	once sync.Once
}

// Close closes the connection.
func (c *gatedConn) Close() error {
	c.once.Do(func() { <-c.gate; c.open.remove(c) })
	return c.Conn.Close()
}
