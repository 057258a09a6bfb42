package express

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idleGrace is how long a connection may be without a request before it makes room
// for another.
const idleGrace = 100 * time.Millisecond

// CloseIdle closes the connection that has been longest without a request, on either
// way, and reports whether there was one: so that new clients need not wait for those
// who only keep their connections. Cost: a look at each connection.
func (s *Server) CloseIdle() bool {
	before := time.Now().Add(-idleGrace)
	plain, since := s.longestIdle(before)
	if other := s.others.longestIdle(since); other != nil {
		_ = other.Close()
		return true
	}
	return plain != nil && plain.endIfIdle()
}

// longestIdle returns the plain connection without a request the longest, before a
// time at least, and since when; nil if there is none.
func (s *Server) longestIdle(before time.Time) (longest *conn, since time.Time) {
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

// others are the connections of net/http without a request, and since when. The zero
// value is ready.
type others struct {
	mu   sync.Mutex
	idle map[net.Conn]time.Time
}

// state is told of every change (http.Server.ConnState).
func (o *others) state(c net.Conn, state http.ConnState) {
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

// longestIdle returns the one without a request the longest, before a time at least,
// and forgets it; nil if there is none.
func (o *others) longestIdle(before time.Time) (longest net.Conn) {
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
