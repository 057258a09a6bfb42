package remote

import (
	"cmp"
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// What was asked for with another TLS configuration is asked by another connection.
func TestClientTakesRenewedTLS(t *testing.T) {
	first, second := &tls.Config{}, &tls.Config{}
	now := first
	c := Config{TLS: first, Credentials: func() (*tls.Config, string) { return now, "" }}
	n := newClient(&c, "https://127.0.0.1/", "")
	one, _ := n.present()
	again, _ := n.present()
	require.Same(t, one, again)
	require.False(t, n.Renewed())
	now = second
	require.True(t, n.Renewed())
	other, _ := n.present()
	require.NotSame(t, one, other)
	require.False(t, n.Renewed())
}

// A Unix socket is reached by no proxy, and its host is nobody's but this machine's.
func TestASocketIsNear(t *testing.T) {
	for source, want := range map[string]struct{ base, socket string }{
		"unix:/run/s":            {"http://localhost/", "/run/s"},
		"unix:/run/s:/":          {"http://localhost/", "/run/s"},
		"unix:/run/a b:/d/e%20f": {"http://localhost/d/e%20f/", "/run/a b"},
		"http://127.0.0.1/":      {"http://127.0.0.1/", ""},
	} {
		s, err := Open(Config{URL: source})
		require.NoError(t, err, source)
		require.Equal(t, want.base, s.base)
		require.Equal(t, want.socket, s.socket)
		require.True(t, s.near)
		require.True(t, IsURL(source))
		require.Equal(t, want.socket != "", s.http.Transport.(*http.Transport).Proxy == nil)
	}
	for _, source := range []string{"unix:/run/s:d", "unix:/run/s:/?x"} {
		_, err := Open(Config{URL: source})
		require.Equal(t, exit.Usage, exit.Of(err), source)
	}
	require.False(t, IsURL("unix:s"))
	require.False(t, IsURL("/srv/unix:/s"))
}

// Headers of the user's are sent with each request, and give way to what a request needs itself.
func TestHeadersOfTheUser(t *testing.T) {
	header := http.Header{"X-Key": {"a", "b"}, "Host": {"tree.example"}, "Authorization": {"Bearer theirs"}, "User-Agent": {"agent"}, "Accept": {"all"}}
	c := newClient(&Config{UserAgent: "mirror", Header: header}, "http://127.0.0.1/", "")
	for _, authorization := range []string{"", "Basic ours"} {
		req, err := c.build(t.Context(), request{path: "f", header: map[string]string{"Accept": "text"}}, authorization)
		require.NoError(t, err)
		require.Equal(t, "tree.example", req.Host)
		require.Equal(t, cmp.Or(authorization, "Bearer theirs"), req.Header.Get("Authorization"))
		require.Equal(t, []string{"a", "b"}, req.Header["X-Key"])
		require.Equal(t, []string{"text"}, req.Header["Accept"])
		require.Equal(t, []string{"agent"}, req.Header["User-Agent"])
	}
	require.Equal(t, []string{"all"}, header["Accept"])
	req, err := newClient(&Config{}, "http://127.0.0.1:1/", "").build(t.Context(), request{}, "")
	require.NoError(t, err)
	require.Empty(t, req.Header["Authorization"])
	require.Empty(t, req.Host, "net/http takes that of the URL")
}
