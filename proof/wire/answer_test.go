package wire

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// answer is what a server said.
type answer struct {
	status  int
	header  http.Header // without those that frame the body
	body    []byte
	chunked bool // there is no Content-Length
	broken  bool // the server cut it off
	length  int  // that it announced, if it is not that of the body
}

// clone returns a copy that a fault may change.
func (a *answer) clone() *answer {
	b := *a
	b.header = a.header.Clone()
	b.body = slices.Clone(a.body)
	return &b
}

// say returns an answer of a program that is not the server.
func say(status int, kind, body string) *answer {
	a := &answer{status: status, header: http.Header{"Server": {"in-between"}}, body: []byte(body)}
	if kind != "" {
		a.header.Set("Content-Type", kind)
	}
	return a
}

// head is the first line and the header, up to the empty line.
func (a *answer) head(method, proto string, length int) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %d %s\r\n", proto, a.status, http.StatusText(a.status))
	for _, key := range slices.Sorted(maps.Keys(a.header)) {
		for _, value := range a.header[key] {
			fmt.Fprintf(&out, "%s: %s\r\n", key, value)
		}
	}
	switch {
	case a.status == 304 || a.status == 204 || a.status < 200:
	case a.chunked && proto == "HTTP/1.1":
		out.WriteString("Transfer-Encoding: chunked\r\n")
	case length >= 0:
		fmt.Fprintf(&out, "Content-Length: %d\r\n", length)
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// hasBody reports whether a body follows the header.
func (a *answer) hasBody(method string) bool {
	return method != http.MethodHead && a.status != 304 && a.status != 204
}

// bytes is the whole answer as it goes out.
func (a *answer) bytes(method string) []byte {
	head := a.head(method, "HTTP/1.1", max(a.length, len(a.body)))
	switch {
	case !a.hasBody(method):
		return head
	case a.chunked:
		return append(head, chunks(a.body)...)
	}
	return append(head, a.body...)
}

// chunks is a body in chunks of at most 1,000 bytes.
func chunks(body []byte) []byte {
	var out bytes.Buffer
	for part := range slices.Chunk(body, 1000) {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(part), part)
	}
	out.WriteString("0\r\n\r\n")
	return out.Bytes()
}

// ending is what becomes of a connection after an answer.
type ending int

const (
	keep  ending = iota // it is used again
	shut                // it is closed
	reset               // it is reset
	hang                // nothing more comes until the client gives up
)

// reply is what the proxy does in place of an answer.
type reply struct {
	raw   []byte
	pause time.Duration // before it
	end   ending
}

// as returns the reply that an answer is.
func (ex *exchange) as(a *answer) reply {
	r := reply{raw: a.bytes(ex.req.Method)}
	if a.broken {
		r.end = shut
	}
	return r
}

// send does what a reply says, and reports whether the connection can be used again.
func (r *reply) send(conn net.Conn, closed <-chan struct{}) bool {
	if r.pause > 0 {
		select {
		case <-time.After(r.pause):
		case <-closed:
			return false
		}
	}
	if _, err := conn.Write(r.raw); err != nil {
		return false
	}
	switch r.end {
	case keep:
		return true
	case reset:
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case hang:
		_, _ = io.Copy(io.Discard, conn) // until the client closes it, or the proxy does
	}
	return false
}

// isText reports whether the body is a listing in text.
func (a *answer) isText() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") && bytes.Contains(a.body, []byte("\n#end "))
}
