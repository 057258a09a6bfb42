package serve_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// converse sends bytes as they are, closes its half of the connection if asked,
// and returns all that comes until the server closes its own.
func (s *site) converse(request string, half bool) string {
	s.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(s, err)
	defer conn.Close()
	require.NoError(s, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(s, err)
	if half {
		require.NoError(s, conn.(*net.TCPConn).CloseWrite())
	}
	answer, err := io.ReadAll(conn)
	require.NotErrorIs(s, err, os.ErrDeadlineExceeded, "%.60q: %.200q", request, answer)
	return string(answer)
}

// A client that closes its half of the connection looks like one that has gone:
// it may get no answer, but none that is short or empty and looks whole.
func TestHalfClosedGetsNoWrongAnswer(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t), Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	stamp, _, _ := strings.Cut(strings.TrimPrefix(tag, `W/"`), "-")
	for range 8 {
		require.NoError(t, os.WriteFile(s.path(fmt.Sprint("big", s.cfg.Stats.Sums.Add(1))), make([]byte, 8<<20), 0o644))
	}
	list := "big1\nbig2\nbig3\nbig4\nbig5\nbig6\nbig7\nbig8\n"
	post := fmt.Sprintf("HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(list), list)
	for request, whole := range map[string]string{
		"GET /?txt&wait=30 HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + tag + "\r\n\r\n":                           "#end ",
		"GET /?txt&wait=30&since=" + stamp + " HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + tag + "\r\n\r\n":       "#stamp ",
		"GET /?sums HTTP/1.1\r\nHost: x\r\n\r\n":                                                                "  big8\n",
		"POST /?sums " + post:                                                                                   "  big8\n",
		"POST /?tar " + strings.Replace(post, "Content-Length: 40\r\n\r\n", "Content-Length: 42\r\n\r\na\n", 1): strings.Repeat("\x00", 1024),
		"GET /?txt&recent=3 HTTP/1.1\r\nHost: x\r\n\r\n":                                                        "#end 3\n",
		"GET /a HTTP/1.1\r\nHost: x\r\n\r\n":                                                                    "\r\n\r\n1",
		"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /?txt&wait=30 HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n":   "\r\n\r\n1",
	} {
		answer := s.converse(request, true)
		switch head, _, _ := strings.Cut(answer, "\r\n\r\n"); {
		case answer == "":
		case strings.Contains(head, "Transfer-Encoding: chunked"):
			require.Equal(t, strings.Contains(answer, whole), strings.HasSuffix(answer, "\r\n0\r\n\r\n"), "%.80q: %.300q", request, answer)
		default:
			require.Contains(t, answer, whole, "%.80q", request)
			require.Equal(t, 1, strings.Count(answer, "HTTP/1.1 200"), "%.80q: %.300q", request, answer)
		}
	}
	require.Eventually(t, func() bool { return s.cfg.Stats.Waiting.Load() == 0 }, 5*time.Second, time.Millisecond)
	require.Zero(t, s.cfg.Stats.Aborted.Load(), "nothing of the tree was the cause")
	require.Zero(t, s.cfg.Stats.Failed.Load())
}

// No refusal waits for a body that never comes, and what follows it is no
// request.
func TestNoBodyIsWaitedFor(t *testing.T) {
	s := publishWatched(t, serve.Config{Tokens: []string{"t"}}, map[string]string{"a": "1"})
	const token = "Authorization: Bearer t\r\n"
	type asked struct {
		net.Conn
		request, want string
	}
	var all []asked // at once, for each takes a second
	for _, test := range []struct{ begin, body, want string }{
		{"POST /?sums HTTP/1.1\r\nHost: x\r\n", "", "401"},
		{"GET /a HTTP/1.1\r\nHost: x\r\n" + token, "", "400"},
		{"PUT /a HTTP/1.1\r\nHost: x\r\n" + token, "", "405"},
		{"POST / HTTP/1.1\r\nHost: x\r\n" + token, "", "405"},
		{"POST /.tidemark/?tar HTTP/1.1\r\nHost: x\r\n" + token, "", "404"},
		{"POST /?sums HTTP/1.1\r\nHost: x\r\n" + token, "..\na", "400"},
		{"POST /?sums HTTP/1.1\r\nHost: x\r\n" + token, strings.Repeat("y", 20_000), "413"},
	} {
		for _, framing := range []string{"Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"} {
			body := test.body
			if body != "" && strings.Contains(framing, "chunked") {
				body = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, test.begin+framing+body)
			require.NoError(t, err)
			all = append(all, asked{conn, test.begin + framing, test.want})
		}
	}
	for _, one := range all {
		answer, err := io.ReadAll(one)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%q: %.200q", one.request, answer)
		text := strings.TrimPrefix(string(answer), "HTTP/1.1 100 Continue\r\n\r\n")
		require.Contains(t, text, "HTTP/1.1 "+one.want, one.request)
		require.Equal(t, 1, strings.Count(text, "HTTP/1.1 "), one.request)
		require.Contains(t, text, "Connection: close", one.request)
	}
}

// A body in chunks ends the connection: it may have had a length too, and then
// another server on the way may see another request begin in it (RFC 9112, 6.1).
func TestChunkedBodyEndsTheConnection(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1", "b": "2"})
	for _, length := range []string{"", "Content-Length: 5\r\n"} {
		answer := s.converse("POST /?sums HTTP/1.1\r\nHost: x\r\n"+length+"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", false)
		require.Contains(t, answer, "HTTP/1.1 200")
		require.Contains(t, answer, "  a\n")
		require.Equal(t, 1, strings.Count(answer, "HTTP/1.1 "))
	}
	answer := s.converse("POST /?sums HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\na\n", false)
	require.Contains(t, answer, "HTTP/1.1 400")
}

// patient notes by when a body must have come.
type patient struct {
	*httptest.ResponseRecorder
	until []time.Time
}

func (p *patient) SetReadDeadline(t time.Time) error {
	p.until = append(p.until, t)
	return nil
}

// A client has half a minute to send its list of paths, however slowly, and the
// answer may take longer than that.
func TestSlowBodyIsCutOff(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	w := &patient{ResponseRecorder: httptest.NewRecorder()}
	s.h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?sums", strings.NewReader("a\n")))
	require.Equal(t, 200, w.Code)
	require.Len(t, w.until, 2)
	require.WithinDuration(t, time.Now().Add(30*time.Second), w.until[0], 5*time.Second)
	require.Zero(t, w.until[1])
}
