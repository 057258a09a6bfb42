package mirror

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// A portal's page is no index, and a copy of a tidemark tree takes no other
// server's word for anything.
func TestPortalsAreNoSources(t *testing.T) {
	page := `<html><head><title>Welcome</title></head><body><a href="login">log in</a></body></html>`
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
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
