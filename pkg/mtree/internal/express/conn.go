package express

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection on the short way. All but state is its own goroutine's, in
// and readBy that of a look while there is one.
type conn struct {
	rwc      net.Conn
	server   *Server
	template *http.Request // what all its requests have in common

	in       *[]byte // bytes that came and belong to no request yet; nil: none
	begun    bool    // an answer was sent: a pause is idleness
	readBy   time.Time
	writeBy  time.Time
	state    atomic.Int32
	since    atomic.Int64    // Unix nanoseconds: begin of the connection, or end of the last answer
	ctx      *requestContext // of the request that is answered
	response response
}

const (
	idle   = iota // between requests: may be closed
	active        // answers
	ended
)

// slack is by how much a deadline may end early, to be set anew once a second
// instead of with each request.
const slack = time.Second

// inputs are for the headers of requests.
var inputs = sync.Pool{New: func() any {
	b := make([]byte, 0, maxHeader)
	return &b
}}

func newConn(s *Server, rwc net.Conn) *conn {
	c := &conn{rwc: rwc, server: s, template: &http.Request{RemoteAddr: rwc.RemoteAddr().String()}}
	c.since.Store(time.Now().UnixNano())
	return c
}

// end closes the connection, whatever it does.
func (c *conn) end() { _ = c.rwc.Close() }

// endIfIdle closes the connection if it is between two requests, or in the
// header of one. Else it ends with its answer.
func (c *conn) endIfIdle() bool {
	if !c.state.CompareAndSwap(idle, ended) {
		return false
	}
	_ = c.rwc.Close()
	return true
}

// serve answers requests until the connection ends, nil, or becomes one for
// net/http, which it returns then.
func (c *conn) serve() (rest net.Conn) {
	defer func() {
		c.release()
		if rest == nil { // or a Handler has ended this goroutine
			c.end()
		}
		c.server.leave(c)
	}()
	for {
		r, v := c.next()
		switch {
		case v == foreign:
			return c.handOver()
		case v == incomplete || !c.state.CompareAndSwap(idle, active):
			return nil
		case !c.answer(r) || !c.idles() || c.server.stopping.Load():
			return nil
		}
		c.begun = true
	}
}

// idles notes that an answer was sent; false if the connection has ended.
func (c *conn) idles() bool {
	c.since.Store(time.Now().UnixNano())
	return c.state.CompareAndSwap(active, idle)
}

// next waits for the next plain request; foreign if something else came,
// incomplete if nothing more comes.
func (c *conn) next() (*http.Request, verdict) {
	for armed := false; ; {
		partial := c.in != nil && len(*c.in) > 0
		if partial {
			switch v, end := examine(*c.in); v {
			case foreign:
				return nil, foreign
			case plain:
				c.ctx = &requestContext{conn: c}
				r := c.template.WithContext(c.ctx)
				if !parse(r, string((*c.in)[:end])) {
					return nil, foreign
				}
				c.drop(end)
				return r, plain
			}
		}
		// The time for a header begins with its first byte, for the first
		// request with the connection.
		switch {
		case !partial && c.begun:
			c.setReadDeadline(c.server.IdleTimeout, min(slack, c.server.IdleTimeout/2))
		case !armed:
			armed = true
			c.setReadDeadline(c.server.ReadHeaderTimeout, 0)
		}
		if !c.read() {
			return nil, incomplete
		}
	}
}

// read waits for more bytes; false if none come.
func (c *conn) read() bool {
	if c.in == nil {
		c.in = inputs.Get().(*[]byte)
	}
	have := len(*c.in)
	n, err := c.rwc.Read((*c.in)[have:cap(*c.in)])
	*c.in = (*c.in)[:have+max(n, 0)]
	return err == nil || n > 0
}

// drop takes n bytes from the front of what came in. A Handler that waits does
// so without an empty buffer in hand.
func (c *conn) drop(n int) {
	*c.in = (*c.in)[:copy(*c.in, (*c.in)[n:])]
	if len(*c.in) == 0 {
		c.release()
	}
}

func (c *conn) release() {
	if c.in != nil {
		*c.in = (*c.in)[:0]
		inputs.Put(c.in)
		c.in = nil
	}
}

// handOver returns the connection with what came in before its next bytes. For
// net/http it is a new one.
func (c *conn) handOver() net.Conn {
	c.setReadDeadline(0, 0)
	setDeadline(c.rwc.SetWriteDeadline, &c.writeBy, 0, 0)
	h := &handed{Conn: c.rwc}
	if c.in != nil {
		h.before = bytes.Clone(*c.in)
	}
	if tcp, ok := c.rwc.(tcpConn); ok {
		return &handedTCP{h, tcp}
	}
	return h
}

// setReadDeadline lets reads fail in d, for ever if d is 0. One that is early
// enough and ends less than most before that stays.
func (c *conn) setReadDeadline(d, most time.Duration) {
	setDeadline(c.rwc.SetReadDeadline, &c.readBy, d, most)
}

func setDeadline(set func(time.Time) error, have *time.Time, d, most time.Duration) {
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
		if most > 0 && !have.After(t) && t.Sub(*have) < most {
			return
		}
	} else if have.IsZero() {
		return
	}
	*have = t
	_ = set(t) // a closed connection: the next read or write tells
}

// answer has the Handler answer r; false if the connection must end.
func (c *conn) answer(r *http.Request) (ok bool) {
	w := &c.response
	w.begin(c)
	defer func() {
		p := recover()
		c.ctx.finish()
		ok = w.release() && ok
		if p != nil && p != http.ErrAbortHandler {
			c.report(p)
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	return w.finish()
}

// report logs what a Handler panicked with, as net/http does.
func (c *conn) report(p any) {
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	c.server.logf("http: panic serving %v: %v\n%s", c.rwc.RemoteAddr(), p, stack)
}

// requestContext is a request's context. It looks whether the client is there
// from when it is asked first.
type requestContext struct {
	conn *conn

	mu   sync.Mutex // guards what follows
	done chan struct{}
	err  error
	over chan struct{} // closed when the look ended; nil: it never began
}

func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (x *requestContext) Value(any) any               { return nil }

func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil { // also when the request is over: nothing may be read for it
			close(x.done)
		} else {
			x.over = make(chan struct{})
			x.conn.setReadDeadline(0, 0) // here, for finish may come before look begins
			go x.look()
		}
	}
	return x.done
}

func (x *requestContext) Err() error {
	x.Done()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// look waits for the client to leave, or to send more: then nothing is known of
// it any more until that is its turn, as with net/http.
func (x *requestContext) look() {
	defer close(x.over)
	if !x.conn.readAhead() {
		x.cancel()
	}
}

// cancel ends the context and returns what is closed when the look has ended.
func (x *requestContext) cancel() (over <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = context.Canceled
		if x.done != nil {
			close(x.done)
		}
	}
	return x.over
}

// finish ends the context with its request, and the look.
func (x *requestContext) finish() {
	if over := x.cancel(); over != nil {
		_ = x.conn.rwc.SetReadDeadline(time.Unix(1, 0)) // long past: the look ends now
		<-over
		x.conn.readBy = time.Unix(1, 0)
	}
}

// readAhead waits for a byte of the next request with no more memory than that;
// false if none comes: the client has gone, or finish ends the wait.
func (c *conn) readAhead() bool {
	var one [1]byte
	n, _ := c.rwc.Read(one[:])
	if n > 0 {
		if c.in == nil {
			c.in = inputs.Get().(*[]byte)
		}
		*c.in = append(*c.in, one[0])
	}
	return n > 0
}

// handed is a connection of which something was read already.
type handed struct {
	net.Conn
	before []byte
}

func (h *handed) Read(p []byte) (int, error) {
	if len(h.before) > 0 {
		n := copy(p, h.before)
		if h.before = h.before[n:]; len(h.before) == 0 {
			h.before = nil
		}
		return n, nil
	}
	return h.Conn.Read(p)
}

// tcpConn is what net/http makes use of in a *net.TCPConn: sendfile(2), and
// closing one direction.
type tcpConn interface {
	io.ReaderFrom
	CloseWrite() error
}

type handedTCP struct {
	*handed
	tcpConn
}
