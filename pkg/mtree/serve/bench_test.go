package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// silent is a ResponseWriter that costs nothing.
type silent struct {
	header http.Header
	bytes  int
}

func (w *silent) Header() http.Header         { return w.header }
func (w *silent) WriteHeader(int)             {}
func (w *silent) Write(p []byte) (int, error) { w.bytes += len(p); return len(p), nil }

// benchTree serves a watched directory of n files.
func benchTree(b *testing.B, n int, cache int64) *serve.Handler {
	root, err := os.MkdirTemp("/dev/shm", "serve-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(root) })
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("%s/file-%06d.txt", root, i), []byte(strings.Repeat("x", i%4096)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	watched(b, root, wire.Watched)
	h, err := serve.New(serve.Config{Root: root, CacheBytes: cache})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close() })
	return h
}

func benchGet(b *testing.B, h *serve.Handler, target string, headers ...string) {
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		h.ServeHTTP(&silent{header: http.Header{}}, r)
	}
}

func BenchmarkNotModified(b *testing.B) {
	h := benchTree(b, 10, 0)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?txt", nil))
	benchGet(b, h, "/?txt", "If-None-Match", w.Header().Get("Etag"))
}

func BenchmarkListing(b *testing.B) {
	for kind, bytes := range map[string]int64{"cached": 0, "read": -1} {
		for _, n := range []int{100, 10_000} {
			h := benchTree(b, n, bytes)
			for _, format := range []string{"txt", "json", "html"} {
				b.Run(fmt.Sprintf("%s/%s/%d", kind, format, n), func(b *testing.B) { benchGet(b, h, "/?"+format) })
			}
		}
	}
}

func BenchmarkFile(b *testing.B) {
	h := benchTree(b, 3000, 0)
	benchGet(b, h, "/file-002000.txt")
}

func BenchmarkBulk(b *testing.B) {
	h := benchTree(b, 1000, 0)
	var list strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&list, "file-%06d.txt\n", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/?tar", strings.NewReader(list.String()))
		h.ServeHTTP(&silent{header: http.Header{}}, r)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "us/file")
}
