package express

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

// Server is an http.Server whose connections begin on the short way. Its fields
// Handler, ReadHeaderTimeout, IdleTimeout, ErrorLog count for both ways; set them
// before Serve. ListenAndServe and ServeTLS are net/http's alone, ConnState is ours.
type Server struct {
	*http.Server

	others   others // connections on the other way
	begun    sync.Once
	today    atomic.Pointer[day]
	stopping atomic.Bool
	mu       sync.Mutex // guards what follows
	conns    map[*conn]struct{}
	drained  chan struct{} // closed when the last of conns ended; nil: nobody waits
}

// Serve is http.Server.Serve.
func (s *Server) Serve(l net.Listener) error {
	s.begun.Do(func() { s.Server.ConnState = s.others.state })
	own := &listener{Listener: l, server: s, out: make(chan accepted), closed: make(chan struct{})}
	go own.run()
	return s.Server.Serve(own)
}

// Shutdown is http.Server.Shutdown: connections between requests are closed,
// answers under way go out until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	idle := s.stop(func(c *conn) { c.endIfIdle() })
	err := s.Server.Shutdown(ctx) // closes the listeners first
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close is http.Server.Close: answers under way are cut off.
func (s *Server) Close() error {
	s.stop((*conn).end)
	return s.Server.Close()
}

// stop lets no connection go on to another request, calls end for each, and
// returns what is closed when the last has ended.
func (s *Server) stop(end func(*conn)) <-chan struct{} {
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

// enter counts c among the connections; false if the server is stopping.
func (s *Server) enter(c *conn) bool {
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

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.drained != nil {
		close(s.drained)
	}
}

// listener gives net/http the connections that are not plain.
type listener struct {
	net.Listener
	server *Server
	out    chan accepted
	once   sync.Once
	closed chan struct{}
}

type accepted struct {
	net.Conn
	err error
}

// run accepts connections until the listener fails, which is net/http's to say.
// After errors that pass, as for want of descriptors, it pauses like net/http, and
// closes a connection that nobody uses.
func (l *listener) run() {
	const least, most = 5 * time.Millisecond, time.Second
	for pause := least; ; {
		c, err := l.Listener.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			pause = least
			go l.begin(c)
		case errors.As(err, &passing) && passing.Temporary():
			l.server.logf("http: Accept error: %v; retrying in %v", err, pause)
			l.server.CloseIdle()
			select {
			case <-time.After(pause):
			case <-l.closed:
			}
			pause = min(2*pause, most)
		default:
			l.pass(accepted{err: err})
			return
		}
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// begin serves a connection as long as it is plain.
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
	if !l.pass(accepted{Conn: rwc}) {
		_ = rwc.Close()
	}
}

// pass hands a to net/http; false if that has ended.
func (l *listener) pass(a accepted) bool {
	select {
	case l.out <- a:
		return true
	case <-l.closed:
		return false
	}
}

// Accept returns the next connection that is for net/http.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.out:
		return a.Conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
