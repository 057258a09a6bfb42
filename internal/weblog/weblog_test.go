package weblog

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func logTo(buf *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// Lines of net/http stood raw between those of slog: without level and keys, and as many
// as a client liked.
func TestLinesHaveKeys(t *testing.T) {
	for line, want := range map[string]string{
		"http: TLS handshake error from 192.0.2.7:51034: EOF":                                     `level=WARN msg=http error="TLS handshake error: EOF" remote=192.0.2.7:51034`,
		"http: TLS handshake error from [2001:db8::1%eth0]:5: remote error: tls: bad certificate": `level=WARN msg=http error="TLS handshake error: remote error: tls: bad certificate" remote=[2001:db8::1%eth0]:5`,
		"http: TLS handshake error from @: EOF":                                                   `level=WARN msg=http error="TLS handshake error: EOF" remote=@`,
		"http2: server: error reading preface from client 192.0.2.7:1: EOF":                       `level=WARN msg=http error="error reading preface: EOF" remote=192.0.2.7:1`,
		"http: Accept error: accept tcp: too many open files; retrying in 5ms":                    `level=WARN msg=http error="Accept error: accept tcp: too many open files; retrying in 5ms"`,
		"http: panic serving 192.0.2.7:1: boom\ngoroutine 7 [running]:":                           `level=ERROR msg=http error="panic: boom" remote=192.0.2.7:1 stack="goroutine 7 [running]:"`,
		"cannot read from a file: gone":                                                           `level=WARN msg=http error="cannot read from a file: gone"`,
		"x\n":                                                                                     `level=WARN msg=http error=x`,
	} {
		var out bytes.Buffer
		New(logTo(&out)).Print(line)
		got, remedy, found := strings.Cut(out.String(), " remedy=")
		require.True(t, found && len(remedy) > 20, line)
		_, stack, _ := strings.Cut(remedy, " stack=")
		if stack != "" {
			got += " stack=" + strings.TrimSpace(stack)
		}
		require.Equal(t, want, got)
	}
	var out bytes.Buffer
	New(logTo(&out)).Print(strings.Repeat("y", 10_000))
	require.Less(t, out.Len(), 1000)
}

func TestLinesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := New(logTo(&out))
		for range 1000 {
			log.Print("http: TLS handshake error from 192.0.2.7:51034: EOF")
		}
		require.Equal(t, mostLines, strings.Count(out.String(), "\n"))
		log.Print("http: panic serving 192.0.2.7:1: boom\nstack")
		require.Equal(t, mostLines+1, strings.Count(out.String(), "\n"), "a panic is always told")
		advance(period)
		out.Reset()
		log.Print("http: one more")
		log.Print("http: and more")
		none := ` remedy="` + remedyFor("") + `"`
		require.Equal(t, "level=WARN msg=http error=\"one more\" omitted=990"+none+"\nlevel=WARN msg=http error=\"and more\""+none+"\n", out.String())
	})
}

// Each says what to do about it.
func TestRemedies(t *testing.T) {
	require.Contains(t, remedyFor("panic: boom"), "defect")
	require.Contains(t, remedyFor("Accept error: accept tcp: too many open files; retrying in 5ms"), "LimitNOFILE")
	require.Contains(t, remedyFor("TLS handshake error: EOF"), "that client")
	require.Contains(t, remedyFor("x"), "none is needed")
}

// A panic in a handler, by way of a real server.
func TestPanicOfAHandler(t *testing.T) {
	var out bytes.Buffer
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errors.New("boom")) }))
	s.Config.ErrorLog = New(logTo(&out))
	s.Start()
	_, err := http.Get(s.URL)
	require.Error(t, err)
	s.Close()
	require.Contains(t, out.String(), `level=ERROR msg=http error="panic: boom" remote=127.0.0.1:`)
	require.Contains(t, out.String(), "weblog_test.go")
}

// advance lets time pass, in a bubble of synctest.
func advance(d time.Duration) { <-time.After(d) }
