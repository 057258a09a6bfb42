package fastpath

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// CloseIdle closes one connection without a request at a time, on either way, and none
// that waits for its answer.
func TestCloseIdle(t *testing.T) {
	t.Run("fast", func(t *testing.T) { testCloseIdle(t, func(s *http.Server) Server { return New(s, nil) }) })
	t.Run("std", func(t *testing.T) { testCloseIdle(t, NewStd) })
}

func testCloseIdle(t *testing.T, from func(*http.Server) Server) {
	hold := make(chan struct{})
	s := from(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-hold
		}
	})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	defer close(hold)
	ask := func(request string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.WriteString(c, request+" HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		_, err = http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		return c
	}
	closeIdle := s.(interface{ CloseIdle() bool }).CloseIdle
	require.False(t, closeIdle())
	busy := ask("GET /held")
	var idlers []net.Conn
	for i := range 6 {
		idlers = append(idlers, ask([]string{"GET /", "HEAD /"}[i%2]))
	}
	for i := range idlers {
		require.Eventually(t, closeIdle, 5*time.Second, time.Millisecond, i)
	}
	for i, c := range idlers {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "%d", i)
	}
	require.Never(t, closeIdle, 3*idleGrace, idleGrace)
	require.NoError(t, busy.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = busy.Read(make([]byte, 100))
	require.NotErrorIs(t, err, io.EOF)
}

// The connection that has been idle for longest is the first.
func TestLongestIdle(t *testing.T) {
	now := time.Now()
	s, first, second := newServer(&http.Server{}), &handed{}, &handed{}
	s.std.idle = map[net.Conn]time.Time{first: now.Add(-3 * time.Hour), second: now.Add(-time.Hour)}
	older, newer := newConn(s, &pipe{}), newConn(s, &pipe{})
	older.since.Store(now.Add(-2 * time.Hour).UnixNano())
	s.conns = map[*conn]struct{}{older: {}, newer: {}}
	own, since := s.longestIdle(now.Add(-idleGrace))
	require.Equal(t, older, own)
	require.Equal(t, net.Conn(first), s.std.longestIdle(since))
	require.Nil(t, s.std.longestIdle(since))
	older.state.Store(active)
	own, since = s.longestIdle(now.Add(-idleGrace))
	require.Nil(t, own)
	require.Equal(t, net.Conn(second), s.std.longestIdle(since))
}

// pipe is a connection to nobody.
type pipe struct{ net.Conn }

func (*pipe) RemoteAddr() net.Addr { return &net.UnixAddr{} }
