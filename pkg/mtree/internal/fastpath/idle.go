package fastpath

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idleGrace is how long a connection may be without a request before it makes room
// for another.
const idleGrace = 100 * time.Millisecond

// CloseIdle closes the connection that has been without a request for the longest time,
// on either way, and reports whether there was one. So new clients need not wait for
// clients that only keep their connections open. Cost: a look at each connection.
func (s *server) CloseIdle() bool {
	before := time.Now().Add(-idleGrace)
	own, since := s.longestIdle(before)
	if s.std.closeLongestIdle(since) {
		return true
	}
	return own != nil && own.endIfIdle()
}

// longestIdle returns the connection on the short way that has been without a request for
// the longest time, if that began earlier than before; else nil.
func (s *server) longestIdle(before time.Time) (longest *conn, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since = before
	for c := range s.conns {
		if at := time.Unix(0, c.since.Load()); c.state.Load() == idle && at.Before(since) {
			longest, since = c, at
		}
	}
	return longest, since
}

// stdConns are the connections of net/http without a request, and since when. The
// zero value is ready.
type stdConns struct {
	mu   sync.Mutex
	idle map[net.Conn]time.Time
}

// state is http.Server.ConnState: it is called for every change.
func (o *stdConns) state(c net.Conn, state http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch state {
	case http.StateNew, http.StateIdle:
		if o.idle == nil {
			o.idle = map[net.Conn]time.Time{}
		}
		o.idle[c] = time.Now()
	default:
		delete(o.idle, c)
	}
}

// closeLongestIdle closes the connection that has been without a request for the longest
// time, if that began earlier than before. It reports whether there was one.
func (o *stdConns) closeLongestIdle(before time.Time) bool {
	c := o.longestIdle(before)
	if c != nil {
		_ = c.Close()
	}
	return c != nil
}

// longestIdle returns the connection that has been without a request for the longest
// time, if that began earlier than before, and forgets it; else nil.
func (o *stdConns) longestIdle(before time.Time) (longest net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c, at := range o.idle {
		if at.Before(before) {
			longest, before = c, at
		}
	}
	delete(o.idle, longest)
	return longest
}

// NewStd returns a Server that is s alone, without the short way. It sets ConnState.
func NewStd(s *http.Server) Server {
	own := &stdServer{Server: s}
	s.ConnState = own.conns.state
	return own
}

// stdServer is net/http alone; it knows its idle connections.
type stdServer struct {
	*http.Server
	conns stdConns
}

// CloseIdle is that of New's Server.
func (s *stdServer) CloseIdle() bool {
	return s.conns.closeLongestIdle(time.Now().Add(-idleGrace))
}
