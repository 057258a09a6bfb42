package fastpath

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// response is the answer to one request, with the rules of http.ResponseWriter. All
// requests of a connection use the same header map, one after another.
type response struct {
	conn   *conn
	header http.Header
	keys   []string // scratch, to sort them

	status  int     // 0: not known yet
	length  int64   // of the body as announced; -1: not announced
	sent    int64   // bytes of the body, gathered or sent
	out     *[]byte // header, and the part of the body that goes out with it
	body    *[]byte // the body so far, while its length is not known; nil: nothing
	framing framing
	close   bool  // the connection ends with this answer
	err     error // of the connection
}

// framing is how the header says where the body ends.
type framing int

const (
	undecided framing = iota
	counted           // Content-Length, or no body
	chunked
)

// gather is the least number of bytes that one system call sends, if more is to follow.
const gather = 16 << 10

var outputs = sync.Pool{New: func() any {
	b := make([]byte, 0, gather)
	return &b
}}

// begin makes w ready for another request.
func (w *response) begin(c *conn) {
	if w.header == nil {
		w.header = make(http.Header, 16)
	}
	*w = response{conn: c, header: w.header, keys: w.keys}
}

// release gives the buffers back. It reports whether the connection may go on.
func (w *response) release() bool {
	clear(w.header)
	w.out, w.body = putBuffer(w.out), putBuffer(w.body)
	return !w.close
}

// putBuffer gives a buffer back, unless it has grown large; it returns nil.
func putBuffer(b *[]byte) *[]byte {
	if b != nil && cap(*b) <= 2*gather {
		*b = (*b)[:0]
		outputs.Put(b)
	}
	return nil
}

// Header is http.ResponseWriter's.
func (w *response) Header() http.Header { return w.header }

// WriteHeader is http.ResponseWriter's. Informational answers are not sent.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || status < 200 {
		return
	}
	w.status = status
	w.length = -1
	if n, err := strconv.ParseInt(first(w.header["Content-Length"]), 10, 64); err == nil && n >= 0 {
		w.length = n
	}
	w.close = w.conn.server.stopping.Load() || strings.EqualFold(first(w.header["Connection"]), "close")
	w.out = outputs.Get().(*[]byte)
	*w.out = w.appendHeader(*w.out)
	if !w.hasBody() {
		w.decide(counted)
	}
}

// first returns the first value, "" if there is none.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// hasBody reports whether answers of this status have a body (RFC 9110, 6.4.1).
func (w *response) hasBody() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// appendHeader appends the status line and the fields in alphabetical order, but not
// the fields that announce the length.
func (w *response) appendHeader(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(w.status), 10)
	dst = append(append(append(dst, ' '), http.StatusText(w.status)...), "\r\n"...)
	if w.close {
		dst = append(dst, "Connection: close\r\n"...)
	}
	w.keys = w.keys[:0]
	for key := range w.header {
		w.keys = append(w.keys, key)
	}
	slices.Sort(w.keys)
	dated := false
	for _, key := range w.keys {
		switch key {
		case "Content-Length", "Transfer-Encoding", "Connection":
			continue
		case "Content-Type":
			if w.status == http.StatusNotModified {
				continue
			}
		case "Date":
			dated = true
		}
		if !isToken(key) {
			continue // it would be read as another field, or as no field
		}
		for _, value := range w.header[key] {
			dst = append(append(dst, key...), ": "...)
			dst = append(appendValue(dst, value), "\r\n"...)
		}
	}
	if !dated {
		dst = append(dst, w.conn.server.date()...)
	}
	return dst
}

// appendValue appends a field's value. Line ends become blanks, else what follows would
// be another field.
func appendValue(dst []byte, value string) []byte {
	start := len(dst)
	dst = append(dst, value...)
	for i := start; i < len(dst); i++ {
		if dst[i] == '\r' || dst[i] == '\n' {
			dst[i] = ' '
		}
	}
	return dst
}

// day is the Date field of one second.
type day struct {
	second int64
	line   string
}

// date returns the Date field of now.
func (s *server) date() string {
	now := time.Now()
	if d := s.today.Load(); d != nil && d.second == now.Unix() {
		return d.line
	}
	d := &day{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
	s.today.Store(d)
	return d.line
}

// decide ends the header.
func (w *response) decide(how framing) {
	w.framing = how
	out := *w.out
	switch {
	case how == chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case w.hasBody():
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), w.length, 10), "\r\n"...)
	}
	*w.out = append(out, "\r\n"...)
}

// Write is http.ResponseWriter's.
func (w *response) Write(p []byte) (int, error) {
	if err := w.take(int64(len(p))); err != nil || len(p) == 0 {
		return 0, err
	}
	if w.framing == counted {
		return w.put(p)
	}
	if w.body == nil {
		w.body = outputs.Get().(*[]byte)
	}
	if len(*w.body)+len(p) <= gather {
		*w.body = append(*w.body, p...)
		return len(p), nil
	}
	return w.putChunk(p)
}

// take prepares the answer for n bytes of its body.
func (w *response) take(n int64) error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case n > 0 && !w.hasBody():
		return http.ErrBodyNotAllowed
	case w.length >= 0 && w.sent+n > w.length:
		w.close = true
		return http.ErrContentLength
	}
	if w.length >= 0 && w.framing == undecided {
		w.decide(counted)
	}
	w.sent += n
	return nil
}

// put adds p to what was gathered, and sends it at once or later.
func (w *response) put(p []byte) (n int, err error) {
	switch {
	case len(*w.out)+len(p) <= gather:
		*w.out = append(*w.out, p...)
		return len(p), nil
	case len(*w.out) == 0:
		n, w.err = w.conn.rwc.Write(p)
		return n, w.err
	}
	if err := w.writeAll(*w.out, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// putChunk sends the gathered part of the body, and p, as one chunk.
func (w *response) putChunk(p []byte) (int, error) {
	if w.framing == undecided {
		w.decide(chunked)
	}
	size := len(*w.body) + len(p)
	*w.out = append(strconv.AppendInt(*w.out, int64(size), 16), "\r\n"...)
	err := w.writeAll(*w.out, *w.body, p, []byte("\r\n"))
	*w.body = (*w.body)[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeAll sends all pieces by one system call. The first is what was gathered.
func (w *response) writeAll(pieces ...[]byte) error {
	buffers := net.Buffers(pieces)
	_, w.err = buffers.WriteTo(w.conn.rwc)
	*w.out = (*w.out)[:0]
	return w.err
}

// flush sends what was gathered.
func (w *response) flush() error {
	if w.err == nil && len(*w.out) > 0 {
		_, w.err = w.conn.rwc.Write(*w.out)
		*w.out = (*w.out)[:0]
	}
	return w.err
}

// FlushError is what http.ResponseController.Flush calls.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.framing == undecided && w.length >= 0:
		w.decide(counted)
	case w.framing == undecided:
		w.decide(chunked)
	}
	if w.body != nil && len(*w.body) > 0 {
		if _, err := w.putChunk(nil); err != nil {
			return err
		}
	}
	return w.flush()
}

// ReadFrom lets io.Copy of a file use sendfile(2), if the length was announced.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	conn, direct := w.conn.rwc.(io.ReaderFrom)
	limited, bounded := src.(*io.LimitedReader)
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !direct || !bounded || w.length < 0 || limited.N > w.length-w.sent {
		return io.Copy(writerOnly{w}, src)
	}
	if err := errors.Join(w.take(limited.N), w.flush()); err != nil {
		return 0, err
	}
	wanted := limited.N
	n, err := conn.ReadFrom(limited)
	w.sent -= wanted - n
	if err != nil {
		w.err = err
	}
	return n, err
}

// writerOnly hides ReadFrom from io.Copy.
type writerOnly struct{ io.Writer }

// finish sends the end of the answer. It returns false if the answer is not whole.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.framing == undecided && w.length < 0: // all of it is here
		w.length = w.sent
		w.decide(counted)
		if w.body != nil {
			_, _ = w.put(*w.body) // flush returns the error
		}
	case w.framing == undecided && w.length > 0:
		return false // a length was announced, but no body came
	case w.framing == undecided:
		w.decide(counted)
	case w.framing == chunked:
		if w.body != nil && len(*w.body) > 0 {
			_, _ = w.putChunk(nil) // flush returns the error
		}
		*w.out = append(*w.out, "0\r\n\r\n"...)
	}
	return w.flush() == nil && (w.framing == chunked || !w.hasBody() || w.sent == w.length)
}

// SetWriteDeadline is for an http.ResponseController. The deadline may end a second
// early, a short one after half of its time.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.conn
	if early := t.Sub(c.writeBy); early >= 0 && early < min(deadlineSlack, time.Until(t)/2) {
		return nil
	}
	c.writeBy = t
	return c.rwc.SetWriteDeadline(t)
}

// CutOff ends a running write; later ones fail until another deadline takes effect.
// Another goroutine may call it.
func (w *response) CutOff() { _ = w.conn.rwc.SetWriteDeadline(time.Unix(1, 0)) }

// SetReadDeadline is for an http.ResponseController: there is no body to read.
func (w *response) SetReadDeadline(time.Time) error { return nil }
