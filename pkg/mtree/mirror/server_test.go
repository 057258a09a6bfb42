package mirror

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
	"tidemark/pkg/mtree/serve"
)

// server publishes a tree and remembers the requests. meddle may answer a request instead.
type server struct {
	t testing.TB
	*fastpathtest.Server
	handler *serve.Handler
	stats   serve.Stats // of the handlers that restart made
	mu      sync.Mutex
	asked   []string
	meddle  func(w http.ResponseWriter, r *http.Request) bool
}

func serveTree(t testing.TB, root string) *server {
	s := &server{t: t}
	s.restart(root)
	return s
}

// restart serves the tree anew, at another address.
func (s *server) restart(root string) {
	h, err := serve.New(serve.Config{Root: root, Hidden: true, Stats: &s.stats})
	require.NoError(s.t, err)
	s.handler = h
	s.Server = fastpathtest.NewServer(s.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+keyOf(r))
		meddle := s.meddle
		s.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			s.present().ServeHTTP(w, r)
		}
	}))
	stop := s.Server
	s.t.Cleanup(func() {
		h.Release()
		stop.Close()
		_ = h.Close()
	})
}

// reopen serves the tree with other options at the same address.
func (s *server) reopen(c serve.Config) {
	h, err := serve.New(c)
	require.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.handler
	s.handler = h
	was.Release()
	s.t.Cleanup(func() { _ = h.Close() })
}

func (s *server) present() *serve.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handler
}

// awaitPoll waits until a request waits for a change.
func (s *server) awaitPoll() {
	require.Eventually(s.t, func() bool { return s.stats.Waiting.Load() > 0 }, 20*time.Second, time.Millisecond)
}

// requests returns the requests since the last call.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// interfere sets meddle.
func (s *server) interfere(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle = f
}

// alter changes the bodies of all answers to path from now on. path is as requested, with
// its query.
func (s *server) alter(path string, change func(body string) string) {
	s.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != path {
			return false
		}
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, r)
		body := change(answer.Body.String())
		for key, values := range answer.Header() {
			if key != "Content-Length" {
				w.Header()[key] = values
			}
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write([]byte(body))
		return true
	})
}

// answer answers requests for path with a status and a body.
func (s *server) answer(path string, status int, body string) {
	s.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != path {
			return false
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	})
}

// keyOf returns what a request asks for, without the part of its URL that keeps caches from answering.
func keyOf(r *http.Request) string {
	uri, _, _ := strings.Cut(r.URL.RequestURI(), "&fresh=")
	return uri
}
