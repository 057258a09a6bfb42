package serve_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// countingListener counts the calls of Write on its connections. What goes out
// by writev(2) is no such call.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

type countingConn struct {
	*net.TCPConn
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c.(*net.TCPConn), l.writes}, nil
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

// gathered serves root by Server and returns how to get a path of it, over
// one connection, and what counts the writes.
func gathered(t *testing.T, root string) (get func(path string) *http.Response, writes *atomic.Int64) {
	t.Helper()
	h, err := serve.New(serve.Config{Root: root})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, writes := serve.Server(h, serve.Fast), new(atomic.Int64)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(countingListener{l, writes}) }()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
		require.NoError(t, h.Close())
	})
	return func(path string) *http.Response {
		t.Helper()
		response, err := client.Get("http://" + l.Addr().String() + path)
		require.NoError(t, err)
		return response
	}, writes
}

func bodyOf(t *testing.T, r *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	return body
}

// Wherever the border of the buffer falls, an answer is whole and there at once:
// header and body together are 16 KiB for one of these files.
func TestAnswersAreWholeAroundTheBuffer(t *testing.T) {
	root := t.TempDir()
	body := bytes.Repeat([]byte("0123456789"), 1700)
	for size := 15_000; size < 16_500; size++ {
		require.NoError(t, os.WriteFile(filepath.Join(root, fmt.Sprint(size)), body[:size], 0o644))
	}
	get, _ := gathered(t, root)
	for size := 15_000; size < 16_500; size++ {
		require.Equal(t, body[:size], bodyOf(t, get(fmt.Sprintf("/%d", size))), size)
	}
}

// An answer from memory that is too long to be copied after its header goes out with
// it by one system call, and a large file after it on the same connection by
// sendfile.
func TestAnswersFromMemoryAreOneWrite(t *testing.T) {
	root := t.TempDir()
	long := bytes.Repeat([]byte("x"), 60<<10)
	require.NoError(t, os.WriteFile(filepath.Join(root, "long"), long, 0o644))
	large := bytes.Repeat([]byte("y"), 3<<20)
	require.NoError(t, os.WriteFile(filepath.Join(root, "large"), large, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "short"), []byte("z"), 0o644))
	get, writes := gathered(t, root)
	require.Equal(t, long, bodyOf(t, get("/long")))
	require.Zero(t, writes.Load(), "a piece was sent by itself")
	require.Equal(t, []byte("z"), bodyOf(t, get("/short")))
	require.EqualValues(t, 1, writes.Load())
	require.Equal(t, large, bodyOf(t, get("/large")))
	require.EqualValues(t, 2, writes.Load(), "the header, and the file by sendfile")
}

// The short way answers to the letter what net/http does, whatever is asked,
// but for the order of header fields.
func TestBothWaysAnswerTheSame(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t), Tar: true, Exclude: []string{"*.secret"}}, map[string]string{
		"a": "1", "dir/b.html": "<p>", "dir/link": "-> b.html", "dir/out": "-> /etc/passwd", "to": "-> dir", ".dot": "x", "x.secret": "x",
		"big": strings.Repeat("0123456789abcdef", 20_000), "sp ace/\x01/c": "2",
	})
	long := httptest.NewServer(s.h)
	defer long.Close()
	tag := s.get("/?txt").Header.Get("ETag")
	fileTag := s.get("/a").Header.Get("ETag")
	ask := func(url, target string, fields []string) (string, http.Header, string) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, target)
		body, err := io.ReadAll(response.Body)
		if err != nil {
			body = append(body, "\n(cut)"...)
		}
		response.Header["chunks"] = []string{fmt.Sprint(response.TransferEncoding)}
		if response.Header.Get("Content-Encoding") == "gzip" && len(body) > 0 {
			// The clock in it compresses better or worse.
			require.Equal(t, int64(len(body)), response.ContentLength)
			response.Header.Del("Content-Length")
			z, err := gzip.NewReader(bytes.NewReader(body))
			require.NoError(t, err)
			body, err = io.ReadAll(z)
			require.NoError(t, err)
		}
		for _, key := range []string{"Date", "Tidemark-Now"} {
			response.Header.Del(key)
		}
		text := regexp.MustCompile(`now=[0-9.]+`).ReplaceAllString(string(body), "")
		if _, boundary, ok := strings.Cut(response.Header.Get("Content-Type"), "; boundary="); ok {
			response.Header.Set("Content-Type", "multipart/byteranges")
			text = strings.ReplaceAll(text, boundary, "boundary")
		}
		return response.Status, response.Header, text
	}
	for _, target := range []string{
		"/", "/?txt", "/?json", "/?html", "/a", "/dir", "/dir/", "/dir/?txt&x=%zz", "/dir/link", "/dir/out", "/to", "/to/?json", "/to?txt",
		"/.dot", "/x.secret", "/none", "/none/", "/big", "/a/", "/sp%20ace/%01/c", "/%2e%2e/", "/a%2fb", "/a%00", "//dir//", "/./a",
		"/?tar", "/dir/?sums", "/?recent=2", "/?recent=x", "/?since=0", "/?since=x", "/?since=99999999999", "/?txt&wait=0",
	} {
		for _, fields := range [][]string{
			nil, {"If-None-Match: " + tag}, {"If-None-Match: " + fileTag}, {"If-Match: " + fileTag}, {"If-Match: \"x\""},
			{"Accept-Encoding: gzip"}, {"Accept: application/json", "Accept-Encoding: gzip;q=0"}, {"User-Agent: curl/8"},
			{"If-Modified-Since: " + past.Format(http.TimeFormat)}, {"Range: bytes=1-5"}, {"Range: bytes=0-1,5-6"}, {"Range: bytes=999999999-"},
			{"Connection: keep-alive"}, {"Authorization: Bearer x"},
		} {
			status, header, body := ask(s.url, target, fields)
			wantStatus, wantHeader, wantBody := ask(long.URL, target, fields)
			require.Equal(t, wantStatus, status, "%s %q", target, fields)
			require.Equal(t, wantHeader, header, "%s %q", target, fields)
			require.Equal(t, wantBody, body, "%s %q", target, fields)
		}
	}
}
