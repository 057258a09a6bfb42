package credentials

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// A token and headers that are meant for one server went to each source.
func TestSecretsGoToOneHost(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	c := &Client{TokenFile: token, Headers: []string{"X-Secret: s"}}
	for first, others := range map[string]map[string]bool{
		"https://a/x/": {
			"https://A:443/y/": true, "https://u:p@a/": true,
			"http://a/": false, "https://a:444/": false, "https://b/": false, "unix:/a": false, "/a": false, "a": false, "https://a.b/": false, "": false,
		},
		"unix:/s:/x/": {"unix:/s": true, "unix:/s:/y/": true, "unix:/s2": false, "http://localhost/": false},
		"/srv/a":      {"/srv/b": true, "http://a/": true}, // a directory is sent nothing
	} {
		for other, is := range others {
			list := c.Each([]string{first, other})
			for i, gets := range []bool{true, is} {
				_, authorization, err := list[i].Load(slog.New(slog.DiscardHandler), first)
				require.NoError(t, err)
				header, err := list[i].Header()
				require.NoError(t, err)
				require.Equal(t, gets, authorization == "Bearer secret", "%s %s", first, other)
				require.Equal(t, gets, header.Get("X-Secret") == "s", "%s %s", first, other)
				if !gets {
					require.Empty(t, authorization)
					require.Empty(t, header)
				}
			}
		}
	}
}

func TestCertificateAndKeyGoTogether(t *testing.T) {
	for _, c := range []Client{{Cert: "c"}, {Key: "k"}} {
		_, _, err := c.Load(nil, "")
		require.Equal(t, exit.Usage, exit.Of(err))
	}
}

// After a directory the first server is the one that they are for.
func TestSecretsGoToTheFirstServer(t *testing.T) {
	c := &Client{Headers: []string{"X-Secret: s"}}
	list := c.Each([]string{"/srv/a", "http://a/", "http://b/", "http://a:80/"})
	require.Equal(t, []bool{true, false, true}, []bool{len(list[1].Headers) > 0, len(list[2].Headers) > 0, len(list[3].Headers) > 0})
}

// The netrc file has logins by host. Of several hosts each gets its own, and one that is not named none.
func TestLoginsOfSeveralHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(file, []byte("machine a login u password one\nmachine b login u password two\n"), 0o600))
	t.Setenv("NETRC", file)
	c := &Client{Netrc: true}
	sources := []string{"http://a/", "http://b/", "http://c/", "/dir", "unix:/s"}
	for i, want := range []string{"Basic dTpvbmU=", "Basic dTp0d28=", "", "", ""} {
		_, authorization, err := c.Each(sources)[i].Load(slog.New(slog.DiscardHandler), sources[i])
		require.NoError(t, err)
		require.Equal(t, want, authorization)
	}
	_, _, err := c.Each(sources[2:3])[0].Load(slog.New(slog.DiscardHandler), sources[2])
	require.ErrorContains(t, err, "no login", "of one host it is missing")
}
