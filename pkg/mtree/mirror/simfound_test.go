package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// What the simulation found.

// A copy without entries counted as new, so its record was trusted after a change of
// options: if filters or serve had left out everything, the copy stayed empty and
// "mirrored" when they no longer did.
func TestAnEmptyCopyIsComparedAnew(t *testing.T) {
	s, b := served(t, serve.Config{Exclude: []string{"*.o"}}, "a.o = x", "b.o = y")
	require.NoError(t, b.once())
	b.server.reopen(serve.Config{Root: s.root})
	b.equal(s)

	s, b = overHTTP(t, "a.o = x", "b.o = y")
	b.config.Filters = []string{"- *.o"}
	require.NoError(t, b.once())
	b.config.Filters = nil
	b.equal(s)
}

// A full walk that found nothing was not written down, so it was due again at once: a week
// after its last change an idle copy was walked at every turn, once a second.
func TestAWalkThatFindsNothingIsWrittenDown(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/g = y")
	b.equal(s)
	b.at(30 * 24 * time.Hour)
	before := b.stats.Walks.Load()
	require.NoError(t, b.once())
	require.Equal(t, before+1, b.stats.Walks.Load())
	b.requireIdle()
}
