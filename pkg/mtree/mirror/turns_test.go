package mirror

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// If two serves with different options answer alternately, each change is a full walk. That is
// reported, and nothing is deleted that one of them hides.
func TestServesThatAnswerByTurns(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g.o = y")
	other, err := serve.New(serve.Config{Root: s.root, Hidden: true, Exclude: []string{"*.o"}})
	require.NoError(t, err)
	t.Cleanup(func() { other.Release(); _ = other.Close() })
	var turn atomic.Int64
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/" && turn.Load()%2 == 1 {
			other.ServeHTTP(w, r)
			return true
		}
		return false
	})
	var log heard
	b.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := b.start()
	b.eventually(s)
	said := -1
	for n := 0; said < 0 || n < said+8; n++ {
		require.Less(t, n, 200, "it is never said")
		if said < 0 && strings.Contains(log.String(), "answer by turns") {
			said = n
		}
		turn.Add(1) // a held poll is answered by the serve that got it
		s.change(fmt.Sprintf("a/f = changed %d times", n))
		b.eventually(s)
	}
	require.NoError(t, r.stop())
	require.Equal(t, 1, strings.Count(log.String(), "answer by turns"))
	require.Contains(t, log.String(), "same options")
}
