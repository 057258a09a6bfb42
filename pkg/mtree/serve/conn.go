package serve

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// Listen returns l with connections that send an answer from memory by one
// system call, for what Server returns. net/http sends its buffer of 4 KiB, the
// header and the beginning of the body, by a call of its own; over loopback that
// is a fifth of the whole answer, for each piece wakes the client.
//
// Under TLS nothing is gathered, and listeners of something else than TCP return
// their connections as they are.
func Listen(l net.Listener) net.Listener { return gatheringListener{l} }

type gatheringListener struct{ net.Listener }

func (l gatheringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(tcpConn); ok && err == nil {
		return &gatheringConn{tcpConn: tcp}, nil
	}
	return c, err
}

// tcpConn is what net/http makes use of in a *net.TCPConn: sendfile(2), and
// closing one direction.
type tcpConn interface {
	net.Conn
	io.ReaderFrom
	CloseWrite() error
}

// gatheringConn holds back the first piece of an answer that was announced until
// the second comes. It is written to by one goroutine at a time.
type gatheringConn struct {
	tcpConn
	announced int     // bytes of the body of the answer that begins with the next write; 0: unknown
	held      *[]byte // nil: nothing
}

// heldPieces are of up to net/http's buffer size.
var heldPieces = sync.Pool{New: func() any { return new([]byte) }}

func (c *gatheringConn) Write(p []byte) (int, error) {
	switch {
	case c.held != nil:
		return c.writeBoth(p)
	case c.announced > 0 && c.isPart(p):
		c.held = heldPieces.Get().(*[]byte)
		*c.held = append((*c.held)[:0], p...)
		c.announced = 0
		return len(p), nil
	}
	c.announced = 0
	return c.tcpConn.Write(p)
}

// ReadFrom sends what was held back first, though nobody announces an answer and
// then sends a file.
func (c *gatheringConn) ReadFrom(r io.Reader) (int64, error) {
	if c.held != nil {
		if _, err := c.writeBoth(nil); err != nil {
			return 0, err
		}
	}
	return c.tcpConn.ReadFrom(r)
}

// isPart reports whether p is the beginning of the answer announced and not the
// whole of it, so that more is sure to come.
func (c *gatheringConn) isPart(p []byte) bool {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	return end >= 0 && len(p) < end+4+c.announced
}

// writeBoth sends what was held back and p.
func (c *gatheringConn) writeBoth(p []byte) (int, error) {
	both := net.Buffers{*c.held, p}
	first := len(*c.held)
	n, err := both.WriteTo(c.tcpConn)
	heldPieces.Put(c.held)
	c.held = nil
	return max(int(n)-first, 0), err
}

// connKey is where a request's context has its *gatheringConn.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if own, ok := c.(*gatheringConn); ok {
		return context.WithValue(ctx, connKey{}, own)
	}
	return ctx
}

// announce sets the length of an answer whose body is written next as a whole,
// from memory. HEAD has none: nothing is held back for it.
func announce(w http.ResponseWriter, r *http.Request, length int) {
	w.Header()["Content-Length"] = []string{strconv.Itoa(length)}
	if c, ok := r.Context().Value(connKey{}).(*gatheringConn); ok && r.Method != http.MethodHead {
		c.announced = length
	}
}
