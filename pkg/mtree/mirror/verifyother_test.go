package mirror

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// --verify of a copy of another web server said that each file differs, compared none, and
// --repair mended none: times without seconds and rounded sizes were taken as they stand.
func TestVerifyAtAnotherServer(t *testing.T) {
	at := time.Unix(1_700_000_123, 0)
	texts := map[string]string{"/f": "as it is", "/g": "another text"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := texts[r.URL.Path]; ok {
			w.Header().Set("Last-Modified", at.UTC().Format(http.TimeFormat))
			_, _ = fmt.Fprint(w, text)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href=\"../\">../</a>\n")
		for _, name := range []string{"f", "g"} {
			_, _ = fmt.Fprintf(w, "<a href=%q>%s</a>   %s   %d\n", name, name, at.UTC().Format("02-Jan-2006 15:04"), len(texts["/"+name]))
		}
		_, _ = fmt.Fprint(w, "</pre></body></html>\n")
	}))
	defer server.Close()
	b := newBench(t, server.URL+"/")
	require.NoError(t, b.once())
	b.config.Out = &b.out
	b.out.Reset()
	require.NoError(t, Verify(context.Background(), b.config, false))
	require.Contains(t, b.out.String(), "compared 1 directories, 2 files (20 bytes), 0 differ")

	path := filepath.Join(b.config.Dest, "g")
	require.NoError(t, os.WriteFile(path, []byte("another tEXt"), 0o644))
	require.NoError(t, os.Chtimes(path, at, at))
	require.Error(t, Verify(context.Background(), b.config, false))
	require.Contains(t, b.out.String(), "differs \"g\"")
	require.NoError(t, Verify(context.Background(), b.config, true))
	require.Equal(t, "another text", b.read("g"))
}
