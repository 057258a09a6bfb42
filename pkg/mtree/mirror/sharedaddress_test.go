package mirror

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// A source and its copy answered by turns at one address. Within a pass the root came from the
// source, and a directory below it from the copy, which was unfinished there: the time that the
// kernel gave it was noted as a stamp of the source, and is later than any. When only the copy
// was left, complete and up to date, it counted as older than what had been seen: each pass was
// incomplete and held all deletions, until something changed in the source.
func TestTheTimeOfAnUnfinishedCopyBehindItsSource(t *testing.T) {
	s := watched(t, "d/a = x", "e/b = y")
	s.id.Runs = []wire.Run{{ID: "0000000000000001"}}
	require.NoError(t, s.marker.WriteTree(s.id))
	first, b := s.benchOverHTTP(), s.benchOverHTTP()
	first.equal(s)
	b.equal(s)
	copied, err := serve.New(serve.Config{Root: first.config.Dest, Hidden: true})
	require.NoError(t, err)
	t.Cleanup(func() { copied.Release(); _ = copied.Close() })
	s.change("d/a = changed")
	require.NoError(t, os.WriteFile(first.path("d/stray"), nil, 0o644)) // as a pass that was killed leaves it
	later := time.Now().Add(time.Second)                                // the kernel's clock is a little behind
	require.NoError(t, os.Chtimes(first.path("d"), later, later))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/" {
			return false
		}
		copied.ServeHTTP(w, r)
		return true
	})
	require.ErrorContains(t, b.once(), "incomplete")

	first.equal(s)
	require.NoError(t, os.WriteFile(b.path("e/extra"), nil, 0o644))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool { copied.ServeHTTP(w, r); return true })
	require.NoError(t, b.once())
	b.equal(s)
}
