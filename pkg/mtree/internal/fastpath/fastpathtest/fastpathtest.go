// Package fastpathtest has a server for tests that ask one over HTTP: as serve runs
// by default, or by net/http alone if the environment variable TIDEMARK_TEST_HTTP is
// "std".
package fastpathtest

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"tidemark/pkg/mtree/internal/fastpath"
)

// Server answers on a port of 127.0.0.1.
type Server struct {
	URL   string // "http://127.0.0.1:PORT"
	conns *connections
	stop  func()
}

// NewServer serves h until Close, which is called at the end of the test at the latest.
func NewServer(t testing.TB, h http.Handler) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := fastpath.New(&http.Server{Handler: h}, nil)
	if os.Getenv("TIDEMARK_TEST_HTTP") == "std" {
		server = fastpath.NewStd(&http.Server{Handler: h})
	}
	ended := make(chan error, 1)
	conns := &connections{Listener: l}
	go func() { ended <- server.Serve(conns) }()
	s := &Server{URL: "http://" + l.Addr().String(), conns: conns, stop: sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close()
		}
		<-ended
	})}
	t.Cleanup(s.Close)
	return s
}

// Close lets answers under way go out for 5 s, then cuts them off.
func (s *Server) Close() { s.stop() }

// CloseClientConnections cuts all connections; the server goes on.
func (s *Server) CloseClientConnections() {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	for _, c := range s.conns.all {
		_ = c.Close()
	}
	s.conns.all = nil
}

// connections remembers the connections that it accepted.
type connections struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

// Accept returns the next connection.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, conn)
	}
	return conn, err
}
