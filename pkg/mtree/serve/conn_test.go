package serve_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

// gathered serves root through Listen and returns how to get a path of it, over
// one connection, and what counts the writes.
func gathered(t *testing.T, root string) (get func(path string) *http.Response, writes *atomic.Int64) {
	t.Helper()
	h, err := serve.New(serve.Config{Root: root})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, writes := serve.Server(h), new(atomic.Int64)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(serve.Listen(countingListener{l, writes})) }()
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

// Wherever the border of net/http's buffer falls, an answer is whole and at
// once there: header and body together are 4096 bytes for one of these files.
func TestAnswersAreWholeAroundTheBuffer(t *testing.T) {
	root := t.TempDir()
	body := bytes.Repeat([]byte("0123456789"), 500)
	for size := 3000; size < 4200; size++ {
		require.NoError(t, os.WriteFile(filepath.Join(root, fmt.Sprint(size)), body[:size], 0o644))
	}
	get, _ := gathered(t, root)
	for size := 3000; size < 4200; size++ {
		require.Equal(t, body[:size], bodyOf(t, get(fmt.Sprintf("/%d", size))), size)
	}
}

// An answer from memory that does not fit in net/http's buffer goes out by one
// system call, header and body, and a large file after it on the same connection
// by sendfile.
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
