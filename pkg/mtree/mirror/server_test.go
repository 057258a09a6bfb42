package mirror

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// server publishes a tree and remembers what it was asked. Before an answer
// goes out, meddle may take the request over.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	meddle func(w http.ResponseWriter, r *http.Request) bool
}

func serveTree(t testing.TB, root string) *server {
	h, err := serve.New(serve.Config{Root: root, Hidden: true})
	require.NoError(t, err)
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
		meddle := s.meddle
		s.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		h.Release()
		s.Close()
		_ = h.Close()
	})
	return s
}

// requests returns what was asked since the last call.
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
