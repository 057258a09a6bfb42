package mirror

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// The page of a portal is not an index; and if the copy is of a tidemark tree, not even the
// index of another server is accepted.
func TestPortalsAreNoSources(t *testing.T) {
	page := `<html><head><title>Welcome</title></head><body><a href="login">log in</a></body></html>`
	portal := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(page))
	}))
	defer portal.Close()
	b := newBench(t, portal.URL)
	require.Equal(t, exit.Unreachable, exit.Of(b.once()))

	s, c := overHTTP(t, "a = x", "b = y")
	c.equal(s)
	c.config.Source = portal.URL
	require.Equal(t, exit.Unreachable, exit.Of(c.once()))
	page = strings.Replace(page, "Welcome", "Index of /", 1)
	require.Equal(t, exit.Unreachable, exit.Of(c.once()))
	c.same(s)
}
