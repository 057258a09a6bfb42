package fastpath

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mirrored is a Handler whose answer has everything that it learns of a request. The
// path chooses how it answers.
func mirrored(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "x/y") // net/http would guess one
	if answer := answers[strings.TrimPrefix(r.URL.Path, "/")]; answer != nil {
		answer(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	text := fmt.Appendf(nil, "%s %q %q %q %s %d %t %q %q %v\n", r.Method, r.URL, r.RequestURI, r.Host, r.Proto, r.ContentLength, r.Close, r.TransferEncoding, body, err)
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		text = fmt.Appendf(text, "%q: %q\n", key, r.Header[key])
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}

// conversation is what a client gets for some bytes that it sends at once.
type conversation struct {
	answers []answer
	rest    string // what came after these and is not a whole answer
	fate    string // how the connection ended
}

// converse sends in over a new connection and reads until the server closes it.
func converse(t *testing.T, addr, in string) (c conversation) {
	conn, err := net.Dial("unix", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	go func() {
		_, _ = io.WriteString(conn, in) // a server need not read all of it
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	out, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nothing comes, and the connection stays, after %q", in)
	}
	c.fate = "end"
	if errors.Is(err, syscall.ECONNRESET) {
		c.fate = "reset"
	} else {
		require.NoError(t, err)
	}
	reader := bufio.NewReader(strings.NewReader(string(out)))
	for {
		next, ok := readAnswer(reader)
		switch {
		case !ok:
			rest, _ := io.ReadAll(reader)
			c.rest = string(rest)
			return c
		case next.Cut: // how much comes of an answer that is cut short is nobody's promise
			return c
		}
		c.answers = append(c.answers, next)
	}
}

// answer is one answer as its bytes say.
type answer struct {
	received
	proto string
}

func readAnswer(in *bufio.Reader) (a answer, ok bool) {
	if _, err := in.Peek(1); err != nil {
		return a, false
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return a, false
	}
	body, err := io.ReadAll(response.Body)
	if response.Header.Get("Date") != longAgo {
		response.Header.Del("Date")
	}
	a.proto = response.Proto
	a.received = received{response.Status, response.Header, response.ContentLength, response.TransferEncoding, response.Close, string(body), err != nil, false}
	return a, true
}

// Whatever bytes come in: the answers are those of net/http's server with the same
// Handler, and so is what becomes of the connection.
func FuzzServer(f *testing.F) {
	dir, err := os.MkdirTemp("", "fastpath-")
	require.NoError(f, err)
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	start := func(name string, server Server) (addr string) {
		addr = filepath.Join(dir, name)
		l, err := net.Listen("unix", addr)
		require.NoError(f, err)
		go func() { _ = server.Serve(l) }()
		f.Cleanup(func() { _ = server.Close() })
		return addr
	}
	plain := func() *http.Server {
		return &http.Server{Handler: http.HandlerFunc(mirrored), ErrorLog: log.New(io.Discard, "", 0)}
	}
	fast, std := start("fast", New(plain(), nil)), start("std", NewStd(plain()))
	const end = " HTTP/1.1\r\n" + host + "\r\n"
	for _, in := range append(slices.Clone(acceptedOnes), handedOverOnes...) {
		f.Add(in)
		f.Add("GET /before" + end + in)
		f.Add(in + "GET /after" + end)
	}
	for _, half := range []string{"G", "GET", "GET /", "0", "HEAD", "GET / HTTP/1.1\r\n"} {
		f.Add(half)
		f.Add("GET /before" + end + half)
	}
	for name := range answers {
		f.Add("GET /" + strings.ReplaceAll(name, " ", "%20") + end + "GET /after" + end)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 64<<10 {
			return
		}
		require.Equal(t, converse(t, std, in), converse(t, fast, in), "%q", in)
	})
}
