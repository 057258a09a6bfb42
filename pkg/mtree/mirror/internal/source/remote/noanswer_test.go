package remote

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// After a server that took connections and did not answer, a mirror paused for up to 75 s
// at a time, as if the server had said something wrong, and not for 5 s, as after one that
// is away.
func TestWhoDoesNotAnswerIsAway(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	defer server.Close()
	defer close(done)
	s, err := Open(Config{URL: server.URL, Patience: 20 * time.Millisecond})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Root(t.Context(), source.Poll{Once: true})
	require.ErrorContains(t, err, "no answer within 20ms")
	require.True(t, IsAway(err))
}
