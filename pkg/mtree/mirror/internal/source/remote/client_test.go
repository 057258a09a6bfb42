package remote

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was asked for with another TLS configuration is asked by another connection.
func TestClientTakesRenewedTLS(t *testing.T) {
	first, second := &tls.Config{}, &tls.Config{}
	now := first
	c := Config{TLS: first, Credentials: func() (*tls.Config, string) { return now, "" }}
	n := newClient(&c, "https://127.0.0.1/")
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

// A proxy that only the environment names is not used.
func TestNoProxyIsUsed(t *testing.T) {
	c := newClient(&Config{}, "http://127.0.0.1/")
	require.Nil(t, c.http.Transport.(*http.Transport).Proxy)
}
