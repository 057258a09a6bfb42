package fastpath

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serving serves h by New and by net/http alone until the test ends. It returns both
// addresses.
func serving(t *testing.T, h http.Handler) (short, long string) {
	t.Helper()
	start := func(s interface {
		Serve(net.Listener) error
		Close() error
	}) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		t.Cleanup(func() {
			require.NoError(t, s.Close())
			require.ErrorIs(t, <-ended, http.ErrServerClosed)
		})
		return l.Addr().String()
	}
	quiet := log.New(io.Discard, "", 0)
	return start(newServer(&http.Server{Handler: h, ErrorLog: quiet})), start(&http.Server{Handler: h, ErrorLog: quiet})
}

func dial(t *testing.T, addr string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

// received is one answer as a client sees it.
type received struct {
	Status  string
	Header  http.Header
	Length  int64
	Coding  []string
	Close   bool
	Body    string
	Cut     bool // within the body
	NoReply bool // not even a header
}

func receive(in *bufio.Reader) received {
	ended := func(err error) bool {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			panic("nothing comes, and the connection stays")
		}
		return err != nil
	}
	response, err := http.ReadResponse(in, nil)
	if ended(err) {
		return received{NoReply: true}
	}
	body, err := io.ReadAll(response.Body)
	ended(err)
	if response.Header.Get("Date") != longAgo {
		response.Header.Del("Date")
	}
	return received{response.Status, response.Header, response.ContentLength, response.TransferEncoding, response.Close, string(body), err != nil, false}
}

const longAgo = "Sat, 03 Feb 2024 04:05:06 GMT"

// answers are all the ways in which a Handler may answer.
var answers = map[string]http.HandlerFunc{
	"nothing":         func(http.ResponseWriter, *http.Request) {},
	"header":          func(w http.ResponseWriter, _ *http.Request) { w.Header()["Etag"] = []string{`"1"`} },
	"several":         func(w http.ResponseWriter, _ *http.Request) { w.Header()["Vary"] = []string{"A", "B"} },
	"no token":        func(w http.ResponseWriter, _ *http.Request) { w.Header()["X: a\r\nSet-Cookie"] = []string{"b"} },
	"newline":         func(w http.ResponseWriter, _ *http.Request) { w.Header()["X"] = []string{"a\r\nSet-Cookie: b"} },
	"empty":           func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
	"short":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") },
	"status":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMovedPermanently) },
	"twice":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) },
	"none":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"date":            func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", longAgo) },
	"no bytes":        func(w http.ResponseWriter, _ *http.Request) { announced(w, 0, 0) },
	"just flushed":    func(w http.ResponseWriter, _ *http.Request) { flush(w) },
	"another request": func(_ http.ResponseWriter, r *http.Request) { *r = *r.WithContext(context.Background()) },
	"late":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.Header().Set("X", "y") },
	"close":           func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
	"abort":           func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"panic":           func(http.ResponseWriter, *http.Request) { panic("at the disco") },
	"chunks":          func(w http.ResponseWriter, _ *http.Request) { writePieces(w, 10, 10_000) },
	"chunk":           func(w http.ResponseWriter, _ *http.Request) { writePieces(w, 1, 1<<20) },
	"crumbs":          func(w http.ResponseWriter, _ *http.Request) { writePieces(w, 20_000, 7) },
	"flushed": func(w http.ResponseWriter, _ *http.Request) {
		flush(w)
		writePieces(w, 2, 5)
		flush(w)
		writePieces(w, 2, 5)
	},
	"flush":    func(w http.ResponseWriter, _ *http.Request) { announced(w, 5, 0); flush(w); writePieces(w, 1, 5) },
	"counted":  func(w http.ResponseWriter, _ *http.Request) { announced(w, 50_000, 50_000) },
	"pieces":   func(w http.ResponseWriter, _ *http.Request) { announced(w, 50_000, 0); writePieces(w, 5, 10_000) },
	"too many": func(w http.ResponseWriter, _ *http.Request) { announced(w, 5, 5); writePieces(w, 1, 1) },
	"too few":  func(w http.ResponseWriter, _ *http.Request) { announced(w, 5, 3) },
	"missing":  func(w http.ResponseWriter, _ *http.Request) { announced(w, 5, 0) },
	"cut": func(w http.ResponseWriter, _ *http.Request) {
		announced(w, 1<<20, 100_000)
		flush(w)
		panic(http.ErrAbortHandler)
	},
	"cut chunks": func(w http.ResponseWriter, _ *http.Request) {
		writePieces(w, 3, 50_000)
		flush(w)
		panic(http.ErrAbortHandler)
	},
	"unchanged": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotModified)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	},
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func announced(w http.ResponseWriter, length, sent int) {
	w.Header().Set("Content-Length", fmt.Sprint(length))
	if sent > 0 {
		writePieces(w, 1, sent)
	}
}

func writePieces(w http.ResponseWriter, n, size int) {
	for range n {
		_, _ = w.Write(bytes.Repeat([]byte("z"), size))
	}
}

// handler answers with the one of answers that the path names. Without a Content-Type
// net/http would guess one.
func handler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "x/y")
	answers[r.URL.Path[1:]](w, r)
}

// Whatever a Handler does, clients get the same on both ways, and the connection goes on
// or ends on both.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	short, long := serving(t, http.HandlerFunc(handler))
	ask := func(addr, name string) (first, next received) {
		conn, in := dial(t, addr)
		_, err := io.WriteString(conn, "GET /"+strings.ReplaceAll(name, " ", "%20")+" HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		first = receive(in)
		_, _ = io.WriteString(conn, "GET /short HTTP/1.1\r\n"+host+"\r\n")
		return first, receive(in)
	}
	for name := range answers {
		first, next := ask(short, name)
		wantFirst, wantNext := ask(long, name)
		if first.Cut || first.NoReply {
			// How much comes of an answer that is cut short is nobody's promise.
			require.True(t, wantFirst.Cut || wantFirst.NoReply, name)
			require.True(t, wantNext.NoReply && next.NoReply, name)
			continue
		}
		require.Equal(t, wantFirst, first, name)
		require.Equal(t, wantNext, next, name)
	}
}

// A file goes out after its header, as a whole or in parts, and counts as body.
func TestFiles(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	send := func(w http.ResponseWriter, announced int, parts ...int64) {
		f, err := os.Open(path)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		if announced >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(announced))
		}
		for _, n := range parts {
			_, _ = io.Copy(w, &io.LimitedReader{R: f, N: n})
		}
	}
	all := int64(len(content))
	short, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole":
			send(w, len(content), all)
		case "/parts":
			send(w, len(content), 10, 1_000_000, all-1_000_010)
		case "/unannounced":
			send(w, -1, all)
		case "/behind":
			w.Header().Set("Content-Length", fmt.Sprint(len(content)+4))
			_, _ = io.WriteString(w, "abcd")
			send(w, -1, all)
		case "/more":
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			send(w, -1, all+1)
		case "/shrunk":
			send(w, len(content)+1, all+1)
		}
	}))
	conn, in := dial(t, short)
	for _, path := range []string{"/whole", "/parts", "/unannounced", "/behind", "/more", "/whole", "/shrunk"} {
		_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		a := receive(in)
		require.Equal(t, path == "/shrunk", a.Cut, path)
		require.Equal(t, string(content), strings.TrimPrefix(a.Body, "abcd"), path)
	}
}

// echo answers with what arrived, and by which way: net/http's contexts know the server.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	way := "short"
	if r.Context().Value(http.ServerContextKey) != nil {
		way = "long"
	}
	fmt.Fprintf(w, "%s %s %s %s", way, r.Method, r.URL, body)
}

// The first request that is not accepted takes its connection to net/http, with all that
// was sent after it, in pieces of any size.
func TestHandingOver(t *testing.T) {
	short, _ := serving(t, http.HandlerFunc(echo))
	const get = " HTTP/1.1\r\n" + host + "\r\n"
	all := "GET /1" + get + "GET /2" + get + "POST /3 HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nbodyGET /4" + get + "HEAD /5" + get
	want := []string{"short GET /1 ", "short GET /2 ", "long POST /3 body", "long GET /4 ", ""}
	for _, size := range []int{len(all), 1, 7, 64} {
		conn, in := dial(t, short)
		require.NoError(t, conn.SetNoDelay(true))
		var all = all
		go func() {
			for all != "" {
				n := min(size, len(all))
				_, _ = io.WriteString(conn, all[:n])
				all = all[n:]
			}
		}()
		for _, body := range want[:4] {
			require.Equal(t, body, receive(in).Body, size)
		}
		response, err := http.ReadResponse(in, &http.Request{Method: http.MethodHead})
		require.NoError(t, err)
		require.Equal(t, 200, response.StatusCode)
	}
	for _, in := range handedOverOnes {
		conn, out := dial(t, short)
		_, err := io.WriteString(conn, in)
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		require.NotContains(t, receive(out).Body, "short", "%q", in)
	}
}

// A client that leaves ends the Context, when it is asked for the first time or later. A
// client that sends its next request early does not count as gone.
func TestContextEndsWithTheClient(t *testing.T) {
	var arrived sync.WaitGroup
	left := make(chan error, 1)
	short, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			arrived.Done()
			<-r.Context().Done()
			left <- r.Context().Err()
		case "/ask":
			if err := r.Context().Err(); err != nil {
				panic(err)
			}
			_, _ = io.WriteString(w, "here")
		case "/hold":
			select {
			case <-r.Context().Done():
				panic("nobody left")
			case <-left:
			}
		}
		_, deadline := r.Context().Deadline()
		if deadline {
			panic("there is none")
		}
	}))
	arrived.Add(1)
	conn, _ := dial(t, short)
	_, err := io.WriteString(conn, "GET /wait HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	arrived.Wait()
	require.NoError(t, conn.Close())
	require.ErrorIs(t, <-left, context.Canceled)

	conn, in := dial(t, short)
	for range 3 {
		_, err = io.WriteString(conn, "GET /ask HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, "here", receive(in).Body)
	}
	_, err = io.WriteString(conn, "GET /hold HTTP/1.1\r\n"+host+"\r\nGET /ask HTTP/1.1\r\n"+host+"\r\nGET /ask HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	left <- nil
	require.Equal(t, "200 OK", receive(in).Status)
	require.Equal(t, "here", receive(in).Body)
	require.Equal(t, "here", receive(in).Body)
}

// A Handler learns that the client has left without waiting for Done.
func TestContextTellsWhenAsked(t *testing.T) {
	asked, left := make(chan struct{}), make(chan struct{})
	short, _ := serving(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.Context().Err()
		close(asked)
		for r.Context().Err() == nil {
			<-time.After(time.Millisecond)
		}
		close(left)
	}))
	conn, _ := dial(t, short)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	<-asked
	require.NoError(t, conn.Close())
	<-left
}

// A goroutine that asks a Context as its request ends takes no bytes of the next request.
func TestContextIsAskedLate(t *testing.T) {
	var all sync.WaitGroup
	defer all.Wait()
	short, _ := serving(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		all.Go(func() { <-ctx.Done() })
		runtime.Gosched()
	}))
	conn, in := dial(t, short)
	for range 2000 {
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, "200 OK", receive(in).Status)
	}
	ctx := &requestContext{conn: newConn(newServer(&http.Server{}), conn)}
	ctx.finish()
	<-ctx.Done()
	require.Nil(t, ctx.over, "nothing is read for it")
}

// A panic is logged with its stack; http.ErrAbortHandler is not logged.
func TestPanicsAreLogged(t *testing.T) {
	var text bytes.Buffer
	s := newServer(&http.Server{Handler: http.HandlerFunc(handler), ErrorLog: log.New(&text, "", 0)})
	p := s.onPipes()
	for _, path := range []string{"/abort", "/panic"} {
		conn := p.dial()
		_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.True(t, receive(bufio.NewReader(conn)).NoReply)
	}
	require.NoError(t, s.Shutdown(t.Context()))
	require.Regexp(t, `^http: panic serving pipe: at the disco\n(?s:.*)server_test.go`, text.String())
}

// A Handler that ends its goroutine ends the connection, and Shutdown does not wait for
// it.
func TestGoexit(t *testing.T) {
	s := newServer(&http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() })})
	p := s.onPipes()
	conn := p.dial()
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	require.True(t, receive(bufio.NewReader(conn)).NoReply)
	require.NoError(t, s.Shutdown(t.Context()))
}

// The Context ends with its request, even if somebody kept it.
func TestContextEndsWithTheRequest(t *testing.T) {
	kept := make(chan context.Context, 2)
	short, _ := serving(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/asked" {
			r.Context().Done()
		}
		kept <- r.Context()
	}))
	conn, in := dial(t, short)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\nGET /asked HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	for range 2 {
		require.Equal(t, "200 OK", receive(in).Status)
		ctx := <-kept
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

// Shutdown closes connections between requests, lets answers under way go out
// and then closes theirs too; Close does not wait.
func TestShutdown(t *testing.T) {
	for _, hard := range []bool{false, true} {
		arrived, goOn := make(chan struct{}), make(chan struct{})
		s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(arrived)
				<-goOn
			}
			_, _ = io.WriteString(w, "done")
		})})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		addr := l.Addr().String()
		between, inBetween := dial(t, addr)
		_, err = io.WriteString(between, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, "done", receive(inBetween).Body)
		fresh, inFresh := dial(t, addr)
		_, err = io.WriteString(fresh, "GET / HT")
		require.NoError(t, err)
		slow, inSlow := dial(t, addr)
		_, err = io.WriteString(slow, "GET /slow HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		<-arrived
		stopped := make(chan error, 1)
		go func() {
			if hard {
				stopped <- s.Close()
			} else {
				stopped <- s.Shutdown(t.Context())
			}
		}()
		require.True(t, receive(inBetween).NoReply)
		require.True(t, receive(inFresh).NoReply)
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
		_, err = net.Dial("tcp", addr)
		require.Error(t, err)
		if hard {
			require.True(t, receive(inSlow).NoReply)
			require.NoError(t, <-stopped)
			close(goOn)
			continue
		}
		select {
		case <-stopped:
			require.Fail(t, "an answer is under way")
		default:
		}
		close(goOn)
		last := receive(inSlow)
		require.Equal(t, "done", last.Body)
		require.True(t, last.Close, "the client learns it")
		require.NoError(t, <-stopped)
		require.True(t, receive(inSlow).NoReply)
	}
}

// Shutdown returns an error if its context ends first.
func TestShutdownEndsWithItsContext(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	s := newServer(&http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-goOn
	})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	conn, _ := dial(t, l.Addr().String())
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.Canceled)
	require.NoError(t, s.Close())
	<-ended
	close(goOn)
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns  chan net.Conn
	failed chan error
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c, open := <-p.conns:
		if !open {
			return nil, net.ErrClosed
		}
		return c, nil
	case err := <-p.failed:
		return nil, err
	}
}

func (p *pipes) Close() error   { close(p.conns); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// onPipes serves connections in memory.
func (s *server) onPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), failed: make(chan error)}
	go func() { _ = s.Serve(p) }()
	return p
}

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Clients have a time for a header and a time between requests; a further byte does not
// extend the first.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(&http.Server{
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 100 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					r.Context().Done() // which must not end with the time for a header
					<-time.After(time.Hour)
					if r.Context().Err() != nil {
						panic("nobody left")
					}
				}
				_, _ = io.WriteString(w, "done")
			}),
		})
		p := s.onPipes()
		until := func(conn net.Conn) time.Duration {
			begun := time.Now()
			_, err := io.Copy(io.Discard, conn)
			require.NoError(t, err)
			return time.Since(begun)
		}
		require.Equal(t, 10*time.Second, until(p.dial()), "a client that says nothing")

		drip := p.dial()
		go func() {
			for _, b := range []byte("GET / HTTP/1.1\r\n") {
				<-time.After(time.Second)
				if _, err := drip.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		require.Equal(t, 10*time.Second, until(drip), "one that drips")

		conn := p.dial()
		ask := func(path string) {
			_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+host+"\r\n")
			require.NoError(t, err)
			require.Equal(t, "done", receive(bufio.NewReader(conn)).Body)
		}
		ask("/")
		<-time.After(95 * time.Second)
		ask("/")
		ask("/slow")
		_, err := io.WriteString(conn, "G")
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, until(conn), "one that begins a request and leaves it")

		conn = p.dial()
		ask("/")
		<-time.After(999 * time.Millisecond)
		ask("/")
		require.InDelta(t, 100*time.Second, until(conn), float64(deadlineSlack), "one that asks no more")
		require.NoError(t, s.Close())
	})
}

// A handed over connection keeps no deadline of the short way, and an idle time shorter
// than the time for a header ends when it should.
func TestDeadlinesEndWithTheHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(&http.Server{IdleTimeout: 100 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
			}
			echo(w, r)
		})})
		p := s.onPipes()
		conn := p.dial()
		in := bufio.NewReader(conn)
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, "short GET / ", receive(in).Body)
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\n"+host+"Content-Length: 1\r\n\r\n")
		require.NoError(t, err)
		<-time.After(time.Hour)
		_, err = io.WriteString(conn, "x")
		require.NoError(t, err)
		require.Equal(t, "long POST / x", receive(in).Body)
		require.NoError(t, conn.Close())
		require.NoError(t, s.Close())

		s = newServer(&http.Server{ReadHeaderTimeout: time.Hour, IdleTimeout: time.Minute, Handler: http.HandlerFunc(echo)})
		p = s.onPipes()
		conn = p.dial()
		in = bufio.NewReader(conn)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, "short GET / ", receive(in).Body)
		begun := time.Now()
		require.True(t, receive(in).NoReply)
		require.Equal(t, time.Minute, time.Since(begun))
		require.NoError(t, s.Close())
	})
}

// A client that does not read is cut off, and the Handler gets an error; a client that
// reads slowly is not cut off.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
					failed <- err
					return
				}
				if _, err := w.Write(make([]byte, 100_000)); err != nil {
					failed <- err
					return
				}
			}
		})})
		p := s.onPipes()
		conn := p.dial()
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		begun := time.Now()
		for range 5 {
			<-time.After(50 * time.Second)
			_, err = io.ReadFull(conn, make([]byte, 150_000))
			require.NoError(t, err, "each piece has its minute")
		}
		require.ErrorIs(t, <-failed, os.ErrDeadlineExceeded)
		require.InDelta(t, 310*time.Second, time.Since(begun), float64(2*deadlineSlack))
		require.NoError(t, conn.Close())
		require.NoError(t, s.Close())
	})
}

// A deadline that is moved to an earlier time counts.
func TestWriteDeadlineMayComeEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan time.Duration, 1)
		s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			begun := time.Now()
			for _, d := range []time.Duration{time.Minute, 5 * time.Second} {
				_ = http.NewResponseController(w).SetWriteDeadline(begun.Add(d))
			}
			_, err := w.Write(make([]byte, 100_000))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				failed <- time.Since(begun)
			}
		})})
		p := s.onPipes()
		conn := p.dial()
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		require.Equal(t, 5*time.Second, <-failed)
		require.NoError(t, s.Close())
	})
}

// A short deadline counts, also after an earlier answer's deadline that has just passed.
func TestShortWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d := time.Minute
			if r.URL.Path == "/short" {
				d = time.Second / 2
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
			_, _ = io.WriteString(w, "done")
		})})
		conn := s.onPipes().dial()
		in := bufio.NewReader(conn)
		for _, path := range []string{"/", "/short"} {
			_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+host+"\r\n")
			require.NoError(t, err)
			require.Equal(t, "done", receive(in).Body, path)
			<-time.After(time.Minute + time.Second/10)
		}
		require.NoError(t, conn.Close())
		require.NoError(t, s.Close())
	})
}

// Connections that come while the server stops are closed, on either way.
func TestLateConnections(t *testing.T) {
	s := newServer(&http.Server{})
	l := &listener{Listener: &pipes{conns: make(chan net.Conn)}, server: s, out: make(chan arrival), closed: make(chan struct{})}
	require.NoError(t, l.Close())
	handedOver, theirs := net.Pipe()
	go l.begin(theirs)
	_, err := io.WriteString(handedOver, "HEAD")
	require.NoError(t, err)
	_, err = handedOver.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	s.stop(func(c *conn) { c.endIfIdle() })
	late, theirs := net.Pipe()
	go l.begin(theirs)
	_, err = late.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Bytes that came before the handover can be read in pieces of any size.
func TestHandedBytes(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	h := &handed{Conn: theirs, before: []byte("abc")}
	go func() { _, _ = io.WriteString(ours, "de") }()
	all, one := "", make([]byte, 1)
	for range 5 {
		_, err := h.Read(one)
		require.NoError(t, err)
		all += string(one)
	}
	require.Equal(t, "abcde", all)
}

// The Date field is that of the present second.
func TestDate(t *testing.T) {
	s := newServer(&http.Server{})
	s.today.Store(&day{1, "Date: long ago\r\n"})
	received, err := http.ParseTime(strings.TrimSuffix(strings.TrimPrefix(s.date(), "Date: "), "\r\n"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), received, 5*time.Second)
}

// temporaryError is an error as accept(2) returns it when there are no descriptors.
type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }
func (temporaryError) Timeout() bool   { return false }

// Temporary errors of the listener lead to pauses as in net/http; others end Serve.
func TestErrorsOfTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		s := newServer(&http.Server{Handler: http.HandlerFunc(echo), ErrorLog: log.New(&text, "", 0)})
		p := &pipes{conns: make(chan net.Conn), failed: make(chan error)}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(p) }()
		answered := func() time.Duration {
			begun := time.Now()
			conn := p.dial()
			_, err := io.WriteString(conn, "POST / HTTP/1.1\r\n"+host+"Content-Length: 0\r\n\r\n")
			require.NoError(t, err)
			require.Equal(t, "200 OK", receive(bufio.NewReader(conn)).Status)
			require.NoError(t, conn.Close())
			return time.Since(begun)
		}
		begun := time.Now()
		for range 10 {
			p.failed <- temporaryError{errors.New("short of descriptors")}
		}
		require.Greater(t, time.Since(begun), time.Second, "it pauses")
		require.LessOrEqual(t, answered(), time.Second)
		p.failed <- temporaryError{errors.New("short of descriptors")}
		require.LessOrEqual(t, answered(), 5*time.Millisecond, "not as long after a good one")
		require.Equal(t, 11, strings.Count(text.String(), "short of descriptors; retrying in "))
		broken := errors.New("broken")
		p.failed <- broken
		require.ErrorIs(t, <-ended, broken)
		require.NoError(t, s.Close())
	})
}
