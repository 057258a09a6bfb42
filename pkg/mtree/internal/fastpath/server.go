package fastpath

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is used like an http.Server. It also has the method CloseIdle() bool, which
// closes the connection that has been without a request for the longest time and reports
// whether there was one.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// New returns a Server whose connections begin on the short way. The fields Handler,
// ReadHeaderTimeout, IdleTimeout, ErrorLog of s count for both ways, and ConnState is
// set by the Server; all others count for net/http only. s must not change after
// this. requests counts the requests that took the short way; nil: it counts none.
func New(s *http.Server, requests *atomic.Int64) Server {
	server := newServer(s)
	if requests != nil {
		server.requests = requests
	}
	return server
}

// newServer does what New does, without a counter, and returns a *server.
func newServer(s *http.Server) *server {
	own := &server{Server: s, requests: new(atomic.Int64)}
	s.ConnState = own.std.state
	return own
}

// server is an http.Server whose connections begin on the short way.
type server struct {
	*http.Server
	requests *atomic.Int64 // on the short way

	std      stdConns // connections that net/http has
	today    atomic.Pointer[day]
	stopping atomic.Bool
	mu       sync.Mutex // guards what follows
	conns    map[*conn]struct{}
	drained  chan struct{} // closed when the last of conns ended; nil: nothing waits for that
}

// Serve is http.Server.Serve.
func (s *server) Serve(l net.Listener) error {
	own := &listener{Listener: l, server: s, out: make(chan arrival), closed: make(chan struct{})}
	go own.run()
	return s.Server.Serve(own)
}

// Shutdown is http.Server.Shutdown: connections between requests are closed, running
// answers may be finished until ctx ends.
func (s *server) Shutdown(ctx context.Context) error {
	idle := s.stop(func(c *conn) { c.endIfIdle() })
	err := s.Server.Shutdown(ctx) // closes the listeners first
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close is http.Server.Close: running answers are cut off.
func (s *server) Close() error {
	s.stop((*conn).end)
	return s.Server.Close()
}

// stop keeps all connections from further requests, and calls end for each. The channel
// is closed when the last connection has ended.
func (s *server) stop(end func(*conn)) <-chan struct{} {
	s.stopping.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drained == nil {
		s.drained = make(chan struct{})
		if len(s.conns) == 0 {
			close(s.drained)
		}
	}
	for c := range s.conns {
		end(c)
	}
	return s.drained
}

// enter counts c among the connections. It returns false if the server is stopping.
func (s *server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

// leave removes c from the connections.
func (s *server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.drained != nil {
		close(s.drained)
	}
}

// listener gives net/http the connections that are handed over.
type listener struct {
	net.Listener
	server *server
	out    chan arrival
	once   sync.Once
	closed chan struct{}
}

// arrival is what Accept returns: a connection, or an error.
type arrival struct {
	net.Conn
	err error
}

// run accepts connections until the listener fails; net/http reports that. After a
// temporary error, such as a lack of descriptors, it pauses like net/http, and closes an
// idle connection.
func (l *listener) run() {
	const least, most = 5 * time.Millisecond, time.Second
	for pause := least; ; {
		c, err := l.Listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			pause = least
			go l.begin(c)
		case errors.As(err, &temporary) && temporary.Temporary():
			l.server.logf("http: Accept error: %v; retrying in %v", err, pause)
			l.server.CloseIdle()
			select {
			case <-time.After(pause):
			case <-l.closed:
			}
			pause = min(2*pause, most)
		default:
			l.pass(arrival{err: err})
			return
		}
	}
}

// logf writes to net/http's log.
func (s *server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// begin serves a connection until it ends or must be handed over.
func (l *listener) begin(rwc net.Conn) {
	if _, secure := rwc.(*tls.Conn); !secure {
		c := newConn(l.server, rwc)
		if !l.server.enter(c) {
			_ = rwc.Close()
			return
		}
		if rwc = c.serve(); rwc == nil {
			return
		}
	}
	if !l.pass(arrival{Conn: rwc}) {
		_ = rwc.Close()
	}
}

// pass hands a to net/http. It returns false if net/http has ended.
func (l *listener) pass(a arrival) bool {
	select {
	case l.out <- a:
		return true
	case <-l.closed:
		return false
	}
}

// Accept returns the next connection for net/http.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.out:
		return a.Conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener; connections that wait for Accept are closed.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
