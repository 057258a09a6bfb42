package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A turnstile lets so many in at once, of one client fewer, and each gives its
// place back.
func TestTurnstile(t *testing.T) {
	gate := newTurnstile(3, 2)
	from := func(address string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = address
		return r
	}
	leave1, ok := gate.enter(from("a:1"))
	require.True(t, ok)
	_, ok = gate.enter(from("a:2"))
	require.True(t, ok)
	_, ok = gate.enter(from("a:3"))
	require.False(t, ok, "two of one client")
	_, ok = gate.enter(from("@")) // a unix socket
	require.True(t, ok)
	_, ok = gate.enter(from("b:1"))
	require.False(t, ok, "three of all")
	leave1()
	_, ok = gate.enter(from("b:1"))
	require.True(t, ok)
}

// Listings of large directories pass a turnstile of their own; validators need
// no place.
func TestLargeListings(t *testing.T) {
	h, err := New(Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer h.Close()
	h.largeSize = -1
	ask := func(method string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/?txt", nil))
		return w.Code
	}
	require.Equal(t, 200, ask(http.MethodGet))
	for range largeShare {
		_, ok := h.large.enter(httptest.NewRequest(http.MethodGet, "/", nil))
		require.True(t, ok)
	}
	require.Equal(t, 429, ask(http.MethodGet))
	require.Equal(t, 200, ask(http.MethodHead))
}

// An answer to ?since holds two listings at once, but of large directories one.
func TestLargeDirectoriesAreNotReadAhead(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(root+"/a/b", 0o755))
	h, err := New(Config{Root: root})
	require.NoError(t, err)
	defer h.Close()
	walk := &telling{h: h, lister: h.lister(h.tree.now())}
	for _, size := range []int64{h.largeSize, -1} {
		h.largeSize = size
		aside := walk.readAside("a")
		aside.drop()
		require.Equal(t, size < 0, aside.err == errLater)
		l, err := walk.read("a", aside)
		require.NoError(t, err)
		require.Len(t, l.Entries, 1)
	}
	walk.after = "b"
	require.Nil(t, walk.readAside("a"))
}
