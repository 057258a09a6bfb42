package serve_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve"
)

// Over TLS clients speak HTTP/2: listings, files, lists of paths, long polls and
// cut answers are the same there.
func TestHTTP2(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	big := strings.Repeat("0123456789abcdef", 1<<19) // more than the window of a stream
	s.write("big", big)
	s.settle()
	server := httptest.NewUnstartedServer(s.h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ask := func(method, target string, body io.Reader, headers ...string) *http.Response {
		r, err := http.NewRequest(method, server.URL+target, body)
		require.NoError(t, err)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, 2, response.ProtoMajor)
		return response
	}
	text := func(response *http.Response) string {
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(body)
	}
	listing := ask(http.MethodGet, "/?txt", nil)
	require.Contains(t, text(listing), " big\t")
	file := ask(http.MethodGet, "/big", nil)
	require.Equal(t, big, text(file))
	tag := file.Header.Get("ETag")
	require.Equal(t, big, text(ask(http.MethodGet, "/big", nil, "If-Match", tag)))
	require.Equal(t, big[5:9], text(ask(http.MethodGet, "/big", nil, "Range", "bytes=5-8")))
	require.Contains(t, text(ask(http.MethodPost, "/?sums", strings.NewReader("a\n"))), "  a\n")
	require.Equal(t, 400, ask(http.MethodGet, "/", strings.NewReader("body")).StatusCode)

	cut := ask(http.MethodGet, "/big", nil, "If-Match", tag)
	require.NoError(t, os.Truncate(s.path("big"), 10))
	_, err := io.Copy(io.Discard, cut.Body)
	require.Error(t, err, "a file that shrinks is cut")

	done := make(chan *http.Response)
	go func() {
		done <- ask(http.MethodGet, "/?txt&wait=40", nil, "If-None-Match", listing.Header.Get("ETag"))
	}()
	s.waiting(1)
	s.stamp("", machine.Now())
	require.Equal(t, 200, (<-done).StatusCode)
}
