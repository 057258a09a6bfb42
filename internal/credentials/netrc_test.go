package credentials

import (
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/credentials/credentialstest"
	"tidemark/pkg/mtree/exit"
)

// login decodes the value of an Authorization.
func login(t *testing.T, authorization string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(authorization, "Basic "))
	require.NoError(t, err)
	return string(text)
}

// The login of the host that SOURCE names is sent, or the default one, and it is read again when the
// file changes.
func TestNetrc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "netrc")
		t.Setenv("NETRC", file)
		credentialstest.Rewrite(t, file, "# logins\nmachine other login o password x\nmachine host login me\n password a:b\n", time.Now())
		load := func(source string) (*Client, string, error) {
			c := &Client{Netrc: true}
			_, authorization, err := c.Load(slog.New(slog.DiscardHandler), source)
			return c, authorization, err
		}
		c, authorization, err := load("https://host:8077/dir/")
		require.NoError(t, err)
		require.Equal(t, "me:a:b", login(t, authorization))
		for _, source := range []string{"http://third/", "/srv/tree", "", "unix:/run/s"} {
			_, _, err = load(source)
			require.Equal(t, exit.Usage, exit.Of(err), source)
			require.NotContains(t, err.Error(), "a:b")
		}
		credentialstest.Rewrite(t, file, "default login any password one\nmachine host login me password two\n", time.Now())
		advance(LookEvery)
		_, authorization = c.Now()
		require.Equal(t, "me:two", login(t, authorization))
		_, authorization, err = load("http://third/")
		require.NoError(t, err)
		require.Equal(t, "any:one", login(t, authorization))

		require.NoError(t, os.Remove(file))
		_, authorization = c.Now()
		require.Equal(t, "me:two", login(t, authorization), "what it held before stands")
		_, _, err = load("http://host/")
		require.Equal(t, exit.Usage, exit.Of(err))
	})
}

// Each was read wrongly, as login and password of nobody or of another host, or ended mirror.
func TestNetrcAsCurlReadsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netrc")
	for _, c := range []struct{ text, want string }{
		{"machine host\n# comment\nlogin a\npassword b\n", "a:b"},
		{"machine host login a password \"b \\\"c\\\\\\t\" # comment", "a:b \"c\\\t"},
		{"machine x login a password machine\nmachine host login a password default", "a:default"},
		{"macdef init\nmachine host login evil password e\n\nmachine host login a password b", "a:b"},
		{"macdef init\r\nmachine host\r\n\r\nmachine HOST\r\naccount z\r\npassword b#c\r\n", ":b#c"},
		{"login nobody password x default login a password \"\"", "a:"},
		{"machine host login one password 1 machine host login two password 2", "one:1"},

		{"machine", ""},
		{"machine x login a password b machine", ""},
		{"machine host", ""},
		{"machine host login", ""},
		{"machine host login a", ""},
		{"machine host login secret\ndefault login secret password secret", ""},
		{"machine host login a password", ""},
		{"machine host login a password # secret", ""},
		{"machine host login a password \"secret", ""},
		{"machine host login a password \"secret\\", ""},
		{"macdef init\nmachine host login secret password secret\n", ""},
		{"secret", ""},
		{"", ""},
		{strings.Repeat(" ", mostNetrc) + "machine host password secret", ""},
	} {
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
		authorization, err := readLogin(file, "host")
		if c.want != "" {
			require.NoError(t, err, c.text)
			require.Equal(t, c.want, login(t, authorization), c.text)
			continue
		}
		require.Equal(t, exit.Usage, exit.Of(err), c.text)
		require.NotContains(t, err.Error(), "secret")
	}
}

// A file that was cut off while it was rewritten ended mirror by a panic. It changes nothing.
func TestNetrcWhileItIsRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "netrc")
		t.Setenv("NETRC", file)
		text := "machine host login me password word"
		credentialstest.Rewrite(t, file, text+"\n", time.Now())
		c := &Client{Netrc: true}
		_, _, err := c.Load(slog.New(slog.DiscardHandler), "http://host/")
		require.NoError(t, err)
		for i := range strings.Index(text, "word") {
			credentialstest.Rewrite(t, file, text[:i], time.Now())
			advance(LookEvery)
			_, authorization := c.Now()
			require.Equal(t, "me:word", login(t, authorization), text[:i])
		}
	})
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine host login a password \"b\\\"\" # c\nmacdef m\nx\n\ndefault password p")
	f.Fuzz(func(t *testing.T, text string) {
		logins, err := parseNetrc(text)
		require.LessOrEqual(t, len(logins), len(text))
		if err == nil {
			return
		}
		require.Less(t, len(err.Error()), 40, "nothing of the file is shown")
	})
}

// Without NETRC it is the file in the home directory.
func TestNetrcAtHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("NETRC", "")
	t.Setenv("HOME", home)
	file, err := netrcFile()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(home, ".netrc"), file)
	t.Setenv("HOME", "")
	_, err = netrcFile()
	require.Equal(t, exit.Usage, exit.Of(err))
}

// What a request needs itself is not taken from a user; values are not shown, for they may be secret.
func TestHeader(t *testing.T) {
	c := Client{Headers: []string{"x-key:  a b ", "Authorization:Bearer one", "X-Key:c", "host:tree.example"}}
	h, err := c.Header()
	require.NoError(t, err)
	require.Equal(t, []string{"a b", "c"}, h["X-Key"])
	require.Equal(t, "Bearer one", h.Get("Authorization"))
	require.Equal(t, "tree.example", h.Get("Host"))
	for _, line := range []string{"secret", ":secret", "a b:secret", "A:sec\nret", "Range:secret", "if-match:secret", "connection:secret", "accept-encoding: secret"} {
		_, err := (&Client{Headers: []string{line}}).Header()
		require.Equal(t, exit.Usage, exit.Of(err), line)
		require.NotContains(t, err.Error(), "secret", line)
	}
	for _, c := range []Client{{TokenFile: "f"}, {Netrc: true}} {
		c.Headers = []string{"authorization:Bearer one"}
		_, err := c.Header()
		require.Equal(t, exit.Usage, exit.Of(err))
	}
}
