package fastpath

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

// conn is a connection on the short way. Its own goroutine owns all fields but state
// and since; while a look runs, that owns in and readBy.
type conn struct {
	rwc      net.Conn
	server   *server
	template *http.Request // all its requests begin as a copy of this

	in       *[]byte // bytes that came and were not yet used for a request; nil: none
	begun    bool    // an answer was sent: from now on a pause counts as idle
	readBy   time.Time
	writeBy  time.Time
	state    atomic.Int32
	since    atomic.Int64    // Unix nanoseconds: start of the connection, or end of the last answer
	ctx      *requestContext // of the present request
	response response
}

const (
	idle   = iota // between requests: may be closed
	active        // answers a request
	ended
)

// deadlineSlack is how early a deadline may end, so that it is set once a second
// instead of with each request.
const deadlineSlack = time.Second

// leastInput is how many bytes must follow an answer before they count as the beginning
// of a request, as with net/http.
const leastInput = 4

// inputs are for the headers of requests.
var inputs = sync.Pool{New: func() any {
	b := make([]byte, 0, maxHeader)
	return &b
}}

// newConn returns a connection that was just accepted.
func newConn(s *server, rwc net.Conn) *conn {
	c := &conn{rwc: rwc, server: s, template: &http.Request{RemoteAddr: rwc.RemoteAddr().String()}}
	c.since.Store(time.Now().UnixNano())
	return c
}

// end closes the connection, even during an answer.
func (c *conn) end() { _ = c.rwc.Close() }

// endIfIdle closes the connection if it is between two requests, or in the header
// of one. Otherwise the connection ends after its answer.
func (c *conn) endIfIdle() bool {
	if !c.state.CompareAndSwap(idle, ended) {
		return false
	}
	_ = c.rwc.Close()
	return true
}

// serve answers requests until the connection ends, and returns nil, or until it
// must be handed over, and returns it.
func (c *conn) serve() (rest net.Conn) {
	defer func() {
		c.release()
		if rest == nil { // also if a Handler has ended this goroutine
			c.end()
		}
		c.server.leave(c)
	}()
	for {
		r, v := c.next()
		switch {
		case v == handedOver:
			return c.handOver()
		case v == incomplete || !c.state.CompareAndSwap(idle, active):
			return nil
		case !c.answer(r) || !c.idles() || c.server.stopping.Load():
			return nil
		}
		c.begun = true
	}
}

// idles records that an answer was sent. It returns false if the connection has ended.
func (c *conn) idles() bool {
	c.since.Store(time.Now().UnixNano())
	return c.state.CompareAndSwap(active, idle)
}

// next waits for the next request. The verdict is accepted with a request,
// handedOver if something else came, incomplete if nothing more comes.
func (c *conn) next() (*http.Request, verdict) {
	for armed := false; ; {
		partial := c.in != nil && len(*c.in) > 0
		enough := partial && (!c.begun || len(*c.in) >= leastInput)
		if enough {
			switch v, end := examine(*c.in); v {
			case handedOver:
				return nil, handedOver
			case accepted:
				c.ctx = &requestContext{conn: c}
				r := c.template.WithContext(c.ctx)
				if !parse(r, string((*c.in)[:end])) {
					return nil, handedOver
				}
				c.drop(end)
				c.server.requests.Add(1)
				return r, accepted
			}
		}
		// The time for a header begins with its first byte; for the first request, with the
		// connection.
		switch {
		case !partial && c.begun:
			c.setReadDeadline(c.server.IdleTimeout, min(deadlineSlack, c.server.IdleTimeout/2))
		case !armed:
			armed = true
			c.setReadDeadline(c.server.ReadHeaderTimeout, 0)
		}
		switch err := c.read(); {
		case err == io.EOF && enough:
			return nil, handedOver // net/http answers an incomplete request
		case err != nil:
			return nil, incomplete
		}
	}
}

// read waits for more bytes. An error means that none came.
func (c *conn) read() error {
	if c.in == nil {
		c.in = inputs.Get().(*[]byte)
	}
	have := len(*c.in)
	n, err := c.rwc.Read((*c.in)[have:cap(*c.in)])
	*c.in = (*c.in)[:have+max(n, 0)]
	if n > 0 {
		return nil
	}
	return err
}

// drop removes n bytes from the front of the input. An empty buffer is released, so
// a Handler that waits holds none.
func (c *conn) drop(n int) {
	*c.in = (*c.in)[:copy(*c.in, (*c.in)[n:])]
	if len(*c.in) == 0 {
		c.release()
	}
}

// release gives the buffer back.
func (c *conn) release() {
	if c.in != nil {
		*c.in = (*c.in)[:0]
		inputs.Put(c.in)
		c.in = nil
	}
}

// handOver returns the connection for net/http, as a new one: reads give the remaining
// input first, then new bytes.
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

// setReadDeadline lets reads fail after d; never if d is 0. The present deadline stays if
// it is earlier by less than most.
func (c *conn) setReadDeadline(d, most time.Duration) {
	setDeadline(c.rwc.SetReadDeadline, &c.readBy, d, most)
}

// setDeadline calls set with a deadline in d, and stores it in have, unless have is good
// enough: see setReadDeadline.
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
	_ = set(t) // of a closed connection the next read or write fails
}

// answer lets the Handler answer r. It returns false if the connection must end.
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

// report logs the panic of a Handler, as net/http does.
func (c *conn) report(p any) {
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	c.server.logf("http: panic serving %v: %v\n%s", c.rwc.RemoteAddr(), p, stack)
}

// requestContext is a request's context. With the first call of Done or Err it begins to
// look whether the client is still there.
type requestContext struct {
	conn *conn

	mu   sync.Mutex // guards what follows
	done chan struct{}
	err  error
	over chan struct{} // closed when the look has ended; nil: it never began
}

// Deadline returns none.
func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value returns none.
func (x *requestContext) Value(any) any { return nil }

// Done begins the look, once.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil { // also after the request: nothing may be read for it
			close(x.done)
		} else {
			x.over = make(chan struct{})
			x.conn.setReadDeadline(0, 0) // here, because finish may come before look begins
			go x.look()
		}
	}
	return x.done
}

// Err begins the look, too: nothing else would notice that the client has gone.
func (x *requestContext) Err() error {
	x.Done()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// look waits for the client to leave, or to send more. If it sends more, its leaving is
// not noticed until the next request is read, as with net/http.
func (x *requestContext) look() {
	defer close(x.over)
	if !x.conn.readAhead() {
		x.cancel()
	}
}

// cancel ends the context. The channel is closed when the look has ended; it is nil
// if there was none.
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

// finish ends the context and the look, because the request is over.
func (x *requestContext) finish() {
	if over := x.cancel(); over != nil {
		_ = x.conn.rwc.SetReadDeadline(time.Unix(1, 0)) // long past: the look ends now
		<-over
		x.conn.readBy = time.Unix(1, 0)
	}
}

// readAhead waits for a byte of the next request, and needs no more memory than
// that. It returns false if none comes: the client has gone, or finish ends the wait.
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

// handed is a connection of which some bytes were read already.
type handed struct {
	net.Conn
	before []byte
}

// Read returns the bytes that were read already, and then new ones.
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

// tcpConn has the methods of a *net.TCPConn that net/http uses for sendfile(2) and for
// closing one direction.
type tcpConn interface {
	io.ReaderFrom
	CloseWrite() error
}

// handedTCP is a handed connection with the methods of a *net.TCPConn.
type handedTCP struct {
	*handed
	tcpConn
}
