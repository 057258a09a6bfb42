package mirror

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// says listens, answers everybody with the same text, and returns its address.
func says(t *testing.T, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Read(make([]byte, 1))
				_, _ = conn.Write([]byte(text))
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// Whatever was wrong with a source, mirror asked "is serve running there, and is this its URL?".
func TestRemediesOfASource(t *testing.T) {
	plain := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		switch _, _ = fmt.Sscanf(r.URL.Path, "/status/%d/", &status); {
		case status != 0:
			w.WriteHeader(status)
		case strings.HasPrefix(r.URL.Path, "/nginx/"):
			w.WriteHeader(400)
			_, _ = w.Write([]byte("<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>"))
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, "https://login.example.org/", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<!doctype html><title>Please sign in</title><a href=/forgot>forgot?</a>\n"))
		}
	}))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	asking := httptest.NewUnstartedServer(http.NotFoundHandler())
	asking.Config.ErrorLog = log.New(io.Discard, "", 0)
	asking.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	asking.StartTLS()
	t.Cleanup(asking.Close)
	alerting, greeting := says(t, "\x15\x03\x01\x00\x02\x02\x46"), says(t, "SSH-2.0-OpenSSH\r\n")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	s, _ := overHTTP(t, "a = x")
	ours := serveTree(t, s.root)
	moved, _ := overHTTP(t, "a = x")
	away := serveTree(t, moved.root)
	require.NoError(t, os.Rename(moved.root, moved.root+".away"))
	require.NoError(t, os.Mkdir(moved.root, 0o755))

	trust := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	trust.RootCAs.AddCert(secure.Certificate())
	trust.RootCAs.AddCert(asking.Certificate())
	for _, c := range []struct {
		source, says string
		tls          *tls.Config
	}{
		{source: secure.URL, says: "--ca FILE"},
		{source: strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), tls: trust, says: "by a name that the certificate is for"},
		{source: strings.Replace(secure.URL, "https", "http", 1), says: "give SOURCE as https://"},
		{source: asking.URL, tls: trust, says: "does it want a client certificate?"},
		{source: "http://" + alerting, says: "give SOURCE as https://"},
		{source: "https://" + greeting, says: "give SOURCE as http://"},
		{source: plain.URL + "/nginx", says: "give SOURCE as https://"},
		{source: strings.Replace(plain.URL, "http", "https", 1), says: "give SOURCE as http://"},
		{source: "http://" + nobody.Addr().String(), says: "is serve running there"},
		{source: "http://nobody.invalid", says: "check the host's name in SOURCE"},
		{source: plain.URL + "/status/401", says: "--token-file FILE"},
		{source: plain.URL + "/status/407", says: "a proxy wants a login"},
		{source: plain.URL + "/status/404", says: "check the path in SOURCE"},
		{source: ours.URL + "/nothing", says: "serve runs there and has no such directory"},
		{source: away.URL, says: "is a disk not mounted?"},
		{source: plain.URL + "/status/502", says: "a proxy there does not reach serve"},
		{source: plain.URL + "/moved", says: `to "https://login.example.org/": redirects are not followed`},
		{source: plain.URL + "/login", says: "a login page"},
	} {
		b := newBench(t, c.source)
		b.config.TLS = c.tls
		err := b.once()
		require.Equal(t, exit.Unreachable, exit.Of(err), c.source)
		require.ErrorContains(t, err, c.says, c.source)
		if !strings.Contains(c.says, "is serve running") {
			require.NotContains(t, err.Error(), "is serve running", c.source)
		}
		require.NoDirExists(t, b.config.Dest)
	}
}

// A SOURCE that cannot be parsed was shown with its password, also in logs.
func TestABadSourceIsShownWithoutItsPassword(t *testing.T) {
	for _, source := range []string{
		"http://u:secret@127.0.0.1:1/?x", "http://u:se%zzcret@127.0.0.1:1/", "http://u:secret@127.0.0.1:port/", "ftp://u:secret@h/",
		"http://u:secret@127.0.0.1:1/", "http://u:a/b@secret@h:x/",
	} {
		err := newBench(t, source).once()
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret@")
		require.NotContains(t, err.Error(), "cret@")
	}
}

// Whatever prevented mirror from making DEST, it said to make the directory above it.
func TestRemediesHere(t *testing.T) {
	s := watched(t, "a = x")
	b := newBench(t, s.root)
	b.config.Dest = filepath.Join(watched(t, "a = x").path("a"), "copy")
	require.ErrorContains(t, b.once(), "DEST must be a directory, and all above it")
}

// Mirror said "run watch at the source" even if watch ran there, and if it could not run there.
func TestRemediesOfStampsThatDoNotPrune(t *testing.T) {
	s := watched(t, "a = x")
	for state, says := range map[wire.State]string{wire.Degraded: "watch --status there says why", wire.Unwatched: "wait until its first audit has ended"} {
		s.state(state)
		b := newBench(t, s.root)
		var text bytes.Buffer
		b.config.Log = slog.New(slog.NewTextHandler(&text, nil))
		require.NoError(t, b.once())
		require.Contains(t, text.String(), says)
		require.NotContains(t, text.String(), "run watch")
	}
	require.Equal(t, "run watch at the source", remedyStamps(&source.Root{State: wire.Unwatched}))
	require.Contains(t, remedyStamps(&source.Root{Dir: source.Dir{Tree: source.Tree{ID: "x"}}, State: wire.Unwatched, Upstreams: "local 1 -"}), "the source is a copy")
	require.Contains(t, remedyStamps(&source.Root{OtherServer: true}), "only serve tells")
}

// A running mirror logged its trouble without a remedy.
func TestTroubleNamesItsRemedy(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	log := &heard{}
	b.config.Log = slog.New(slog.NewTextHandler(log, nil))
	b.start()
	b.eventually(s)
	b.server.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s.change("a = y")
	log.eventually(t, "--token-file FILE")
}
