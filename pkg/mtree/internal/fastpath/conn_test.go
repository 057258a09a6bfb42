package fastpath

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The Handler notices a client that leaves while it waits, also after the time for a
// header.
func TestLeavesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan struct{})
		s := newServer(&http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(left)
		})})
		p := s.onPipes()
		conn := p.dial()
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		select {
		case <-left:
			require.Fail(t, "the client is there")
		case <-time.After(45 * time.Second):
		}
		require.NoError(t, conn.Close())
		begun := time.Now()
		<-left
		require.Zero(t, time.Since(begun))
		require.NoError(t, s.Close())
	})
}

// An answer that has begun when the server stops is the last one of its connection, and
// Shutdown waits for it.
func TestShutdownAfterTheHeader(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		flush(w)
		close(begun)
		<-goOn
	})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	conn, in := dial(t, l.Addr().String())
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
	require.NoError(t, err)
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stopped := make(chan error, 2)
	for range 2 {
		go func() { stopped <- s.Shutdown(ctx) }()
	}
	require.ErrorIs(t, <-ended, http.ErrServerClosed)
	close(goOn)
	require.False(t, receive(in).Cut)
	require.True(t, receive(in).NoReply)
	require.NoError(t, <-stopped)
	require.NoError(t, <-stopped)
}

// After an error nothing more is sent: an answer that was cut must not look whole.
func TestErrorsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 3)
		s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c := http.NewResponseController(w)
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := w.Write(make([]byte, 100_000))
			errs <- err
			_ = c.SetWriteDeadline(time.Time{})
			_, err = w.Write([]byte("x"))
			errs <- err
			errs <- c.Flush()
		})})
		p := s.onPipes()
		conn := p.dial()
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"+host+"\r\n")
		require.NoError(t, err)
		for range 3 {
			require.Error(t, <-errs)
		}
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Empty(t, all)
		require.NoError(t, s.Close())
	})
}

// Bytes that are handed over are in no buffer into which another connection reads.
func TestHandedBytesAreItsOwn(t *testing.T) {
	short, _ := serving(t, http.HandlerFunc(echo))
	ask := func(request string) string {
		conn, err := net.Dial("tcp", short)
		if !assert.NoError(t, err) {
			return ""
		}
		defer conn.Close()
		_, err = io.WriteString(conn, request)
		assert.NoError(t, err)
		return receive(bufio.NewReader(conn)).Body
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 30 {
				if i%2 == 0 {
					ask("GET /a HTTP/1.1\r\n" + host + "X: " + strings.Repeat("y", 3000) + "\r\n\r\n")
					continue
				}
				body := strings.Repeat(fmt.Sprint(i), 3000)
				assert.Equal(t, "long POST / "+body, ask(fmt.Sprintf("POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", host, len(body), body)))
			}
		})
	}
	all.Wait()
}

// With TLS everything goes to net/http, HTTP/2 too.
func TestTLS(t *testing.T) {
	other := httptest.NewUnstartedServer(nil)
	other.EnableHTTP2 = true
	other.StartTLS() // for its certificate and its client
	defer other.Close()
	config := other.TLS.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(tls.NewListener(l, config)) }()
	client := other.Client()
	response, err := client.Get("https://" + l.Addr().String())
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "HTTP/2.0", string(body))
	client.CloseIdleConnections()
	require.NoError(t, s.Close())
	<-ended
}
