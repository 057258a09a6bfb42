package remote

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// Nobody was told of a proxy that could not be understood: mirror went past it, or asked the name server
// for a part of its password.
func TestProxiesThatAreNone(t *testing.T) {
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, "")
	}
	open := func(url string) error {
		s, err := Open(Config{URL: url})
		if err == nil {
			s.Close()
		}
		return err
	}
	for _, proxy := range []string{
		"http://u:secret%zz@proxy:1", "http://u:sec ret@proxy:1", "http://u:sec#secret@proxy:1", "http://u:sec/secret@proxy:1", "http://u:sec?secret@proxy:1",
		"ftp://u:secret@proxy:1", "http://", "http://:3128", "u:secret%@proxy",
	} {
		t.Setenv("http_proxy", proxy)
		err := open("http://tree.invalid/")
		require.Equal(t, exit.Usage, exit.Of(err), proxy)
		require.ErrorContains(t, err, "http_proxy")
		require.NotContains(t, err.Error(), "secret")
		require.NoError(t, open("https://tree.invalid/"))
		require.NoError(t, open("http://127.0.0.1:1/"))
		require.NoError(t, open("unix:/run/s"))
	}
	for _, proxy := range []string{"http://proxy:3128/", "proxy:3128", "proxy", "u:pass@proxy:1", "https://u:p%23@proxy:1", "socks5://[::1]:1080", "socks5h://proxy"} {
		t.Setenv("http_proxy", proxy)
		require.NoError(t, open("http://tree.invalid/"), proxy)
	}
	t.Setenv("https_proxy", "ftp://proxy")
	require.ErrorContains(t, open("https://tree.invalid/"), "https_proxy")
}
