package mirror

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// timeless is a server like Python's: it lists names only, and says "not modified" of a file that took
// the place of a newer one.
type timeless struct {
	names   string               // what it lists in its root
	files   map[string]time.Time // by path
	refer   map[string]int       // statuses, by method and path
	instead string               // Content-Location of a file that is not there; "": 404
	page    bool                 // 200 for what is not there
	asked   []string             // methods and paths

	mu sync.Mutex // guards all that
}

func (s *timeless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock() // mirror gives up questions whose answers are still under way
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	if status := s.refer[r.Method+" "+r.URL.Path]; status != 0 && !s.page {
		w.WriteHeader(status)
		return
	}
	if r.URL.Path == "/" || r.URL.Path == "/d/" {
		names := s.names
		if r.URL.Path != "/" {
			names = "inner"
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html><head><title>Directory listing for /</title></head><body><h1>Directory listing for /</h1>\n")
		for _, name := range strings.Fields(names) {
			_, _ = fmt.Fprintf(w, "<a href=\"%s\">%s</a>\n", name, name)
		}
		_, _ = fmt.Fprint(w, "</body></html>\n")
		return
	}
	at, is := s.files[strings.TrimPrefix(r.URL.Path, "/")]
	switch {
	case !is && s.instead != "" && r.URL.Path == "/b":
		w.Header().Set("Content-Location", s.instead)
		return
	case !is && !s.page:
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "f.bin", at, strings.NewReader(at.Format(time.RFC3339)))
}

func startTimeless(t *testing.T, names string) (*timeless, *bench) {
	old := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	s := &timeless{names: names, files: map[string]time.Time{}, refer: map[string]int{}}
	for _, name := range []string{"a", "b", "c", "d/inner"} {
		s.files[name] = old
	}
	server := fastpathtest.NewServer(t, s)
	t.Cleanup(server.Close)
	b := newBench(t, server.URL)
	b.config.Jobs = 1
	return s, b
}

// Apache, lighttpd and Caddy leave out what they may not read, and Caddy what is beyond its 10,000
// entries. All of that was deleted, with all below it. Only 404 and 410 say that something is gone.
func TestWhatIsNotListedAndNotGone(t *testing.T) {
	for name, c := range map[string]struct {
		head, get int
		instead   string // Content-Location
		page      bool   // for whatever it is asked
		gone      bool
	}{
		"there":              {head: http.StatusOK},
		"not readable":       {head: http.StatusForbidden},
		"a token is needed":  {head: http.StatusUnauthorized},
		"elsewhere":          {head: http.StatusFound},
		"too many":           {head: http.StatusTooManyRequests},
		"in trouble":         {head: http.StatusServiceUnavailable},
		"no HEAD, denied":    {head: http.StatusMethodNotAllowed, get: http.StatusForbidden},
		"no HEAD, not there": {head: http.StatusNotImplemented, get: http.StatusNotFound, gone: true},
		"not there":          {head: http.StatusNotFound, gone: true},
		"gone":               {head: http.StatusGone, gone: true},
		"another file":       {instead: "b.html", gone: true},
		"itself":             {instead: "b"},
		"a page for all":     {page: true, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := startTimeless(t, "a b c d/")
			require.NoError(t, b.once())
			require.FileExists(t, b.path("d/inner"))
			s.mu.Lock()
			s.names = "a c new"
			s.files["new"] = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
			delete(s.files, "b")
			s.refer["HEAD /d/"], s.refer["GET /d/"] = cmp.Or(c.head, http.StatusNotFound), c.get
			s.instead, s.page = c.instead, c.page
			s.mu.Unlock()
			err := b.once()
			require.FileExists(t, b.path("new"), "what is listed arrives")
			if c.gone {
				require.NoError(t, err)
				require.NoDirExists(t, b.path("d"))
				require.NoFileExists(t, b.path("b"))
				return
			}
			require.Equal(t, exit.Failed, exit.Of(err), "%v", err)
			require.ErrorContains(t, err, "not gone")
			require.FileExists(t, b.path("d/inner"))
			require.FileExists(t, b.path("b"), "the listing is not whole")
			b.config.DryRun = true
			require.Error(t, b.once())
			require.NotContains(t, b.out.String(), `delete "`)
			b.config.DryRun = false

			s.mu.Lock()
			s.names = "a c new d/"
			delete(s.refer, "HEAD /d/")
			delete(s.refer, "GET /d/")
			s.instead = ""
			s.mu.Unlock()
			require.NoError(t, b.once())
			require.FileExists(t, b.path("d/inner"))
			require.NoFileExists(t, b.path("b"))
		})
	}
}

// Where a listing shows no times, a file was asked for by If-Modified-Since. A file that an older one
// replaced (mv, cp -p, tar) is not modified since, so the copy kept the newer one for ever.
func TestAFileThatTookANewerOnesPlace(t *testing.T) {
	s, b := startTimeless(t, "a b c")
	require.NoError(t, b.once())
	s.files["b"] = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	s.asked = nil
	require.NoError(t, b.once())
	require.Equal(t, "2023-01-01T00:00:00Z", b.read("b"))
	require.NotContains(t, s.asked, "GET /a", "what is equal is not fetched again")
	s.asked = nil
	require.NoError(t, b.once())
	require.NotContains(t, strings.Join(s.asked[1:], " "), "GET /b")

	s.refer["HEAD /c"] = http.StatusMethodNotAllowed // then the date alone has to do
	s.files["c"] = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, b.once())
	require.Equal(t, "2025-01-01T00:00:00Z", b.read("c"))
}
