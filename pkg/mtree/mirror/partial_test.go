package mirror

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// cutWriter aborts the connection after a number of bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// If a large file breaks off, it is continued from there, at once and after a restart.
func TestLargeFilesAreContinued(t *testing.T) {
	s := watched(t, "small = x")
	big := make([]byte, 9<<20)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	require.NoError(t, os.WriteFile(s.path("big"), big, 0o444))
	old := time.Unix(1_000_000_000, 0)
	require.NoError(t, os.Chtimes(s.path("big"), old, old))
	s.publish("big")
	b := s.benchOverHTTP()
	var ranges []string
	cutting := true
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" || r.Method != http.MethodGet {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if cutting && len(ranges) > 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		if cutting {
			b.server.handler.ServeHTTP(&cutWriter{w, 2 << 20}, r)
			return true
		}
		return false
	})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Empty(t, ranges[0])
	require.True(t, strings.HasPrefix(ranges[1], "bytes=2"), "%q", ranges)
	require.True(t, strings.HasPrefix(ranges[2], "bytes=4"), "%q", ranges)
	require.NoFileExists(t, b.path("big"))
	cutting = false
	b.equal(s)
	require.True(t, strings.HasPrefix(ranges[len(ranges)-1], "bytes=4"), "%q", ranges)
	left, err := os.ReadDir(b.path(".tidemark/tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
	b.requireIdle()
}

// A part of an older version is not continued.
func TestAPartOfAnotherVersion(t *testing.T) {
	s, b := overHTTP(t, "big = "+strings.Repeat("a", 9<<20))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" || r.Method != http.MethodGet {
			return false
		}
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		b.server.handler.ServeHTTP(&cutWriter{w, 1 << 20}, r)
		return true
	})
	require.Error(t, b.once())
	b.server.interfere(nil)
	s.change("big = " + strings.Repeat("b", 9<<20))
	b.equal(s)
	require.Equal(t, strings.Repeat("b", 9<<20), b.read("big"))
}

// A server that ignores ranges sends the file from its beginning.
func TestAServerWithoutRanges(t *testing.T) {
	s, b := overHTTP(t, "big = "+strings.Repeat("a", 9<<20))
	first := true
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" || r.Method != http.MethodGet {
			return false
		}
		r.Header.Del("Range")
		if first {
			first = false
			b.server.handler.ServeHTTP(&cutWriter{w, 1 << 20}, r)
			return true
		}
		return false
	})
	b.equal(s)
}
