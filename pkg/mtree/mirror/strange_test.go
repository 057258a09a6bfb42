package mirror

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// Set-id and sticky bits of files and directories never arrive.
func TestSetIDBitsNeverArrive(t *testing.T) {
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			_, _ = io.WriteString(w, "1700000000.000000001 ./\t-\n#end 0\n")
			return
		}
		w.Header().Set("ETag", `"1700000000.000000001-1-1.500000000"`)
		_, _ = io.WriteString(w, "x")
	}, "d/\t-\tmode=07755", "f\t1\tmode=06755\tctime=1.5")
	_ = b.once()
	for _, name := range []string{"d", "f"} {
		info, err := os.Stat(b.path(name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o755), info.Mode()&^os.ModeDir, name)
	}
}

// An entry with an attribute of a later version is a failure, and is neither fetched nor
// deleted.
func TestWhatIsNotUnderstoodIsLeftAlone(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g = y", "a/dir/h = z")
	b.equal(s)
	s.change("a/f = changed", "a/g = changed", "a/dir/h = changed", "a/new = x")
	b.server.alter("/a/?txt", func(body string) string {
		lines := strings.SplitAfter(body, "\n")
		for i, line := range lines {
			if strings.Contains(line, " f\t") || strings.Contains(line, " dir/\t") || strings.Contains(line, " new\t") {
				lines[i] = strings.Replace(line, "\n", "\tSparse=1\n", 1)
			}
		}
		return strings.Join(lines, "")
	})
	err := b.once()
	require.Equal(t, exit.Failed, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, "a newer tidemark is needed")
	require.Equal(t, "x", b.read("a/f"))
	require.Equal(t, "z", b.read("a/dir/h"))
	require.NoFileExists(t, b.path("a/new"))
	require.Equal(t, "changed", b.read("a/g"))
	b.server.interfere(nil)
	b.equal(s)
}

// otherServerOf answers all requests with one page.
func otherServerOf(t *testing.T, kind, page string) *bench {
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(server.Close)
	b := newBench(t, server.URL)
	b.canary()
	return b
}

// A text with two entries of one name is not a listing.
func TestTwoEntriesOfOneName(t *testing.T) {
	b := otherServerOf(t, "application/json", `[{"name":"a","type":"file","size":1},{"name":"a","type":"directory"}]`)
	require.Equal(t, exit.Unreachable, exit.Of(b.once()))
}

// Caddy drops what lies beyond 10,000 entries, and then leaves out what is to be hidden: so what is not
// in such a listing is not gone.
func TestAListingThatMayBeCut(t *testing.T) {
	var names atomic.Pointer[[]string]
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			if !slices.Contains(*names.Load(), r.URL.Path[1:]) {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, "x")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		var rows []string
		for _, name := range *names.Load() {
			rows = append(rows, fmt.Sprintf(`{"name":%q,"is_dir":false,"size":1,"mod_time":"2024-02-03T04:05:06Z"}`, name))
		}
		_, _ = io.WriteString(w, "["+strings.Join(rows, ",")+"]")
	}))
	b := newBench(t, server.URL)
	b.config.Filters = []string{"- /n*"}
	list := func(n int, others ...string) error {
		for i := range n {
			others = append(others, fmt.Sprint("n", i))
		}
		names.Store(&others)
		return b.once()
	}
	require.NoError(t, list(1, "a", "b"))
	require.Error(t, list(9_900, "a"))
	require.FileExists(t, b.path("b"))
	require.NoError(t, list(9_000, "a"))
	require.NoFileExists(t, b.path("b"))
}

// An entry of 2^63-1 bytes for which no such file arrives gets no name, takes no disk space
// and overflows no total; nor do two of them.
func TestTheLargestSizes(t *testing.T) {
	size := fmt.Sprint(int64(math.MaxInt64))
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", `"1700000000.000000001-`+size+`-1.500000000"`)
		_, _ = io.WriteString(w, "x")
	}, "f\t"+size+"\tctime=1.5", "g\t"+size+"\tctime=1.5", "h\t"+size)
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes)")
	for _, name := range []string{"f", "g", "h"} {
		require.NoFileExists(t, b.path(name))
	}
}

// A listing of a thousand million entries is an error long before its end. (Of our
// servers: TestBombs, TestDecoderBoundsEntries.)
func TestListingsWithoutAnEnd(t *testing.T) {
	for kind, begin := range map[string]string{
		"text/html":        "<html><head><title>Index of /</title></head><body><pre>\n",
		"application/json": "[",
	} {
		sent := 0
		server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "txt") {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", kind)
			_, err := io.WriteString(w, begin)
			padding := strings.Repeat("x", 8000)
			for sent = 0; err == nil && sent < 1_000_000_000; sent++ {
				switch kind {
				case "text/html":
					_, err = fmt.Fprintf(w, "<a href=\"%010d\">%s</a> 1\n", sent, padding)
				default:
					_, err = fmt.Fprintf(w, "{\"name\":\"%010d\",\"type\":\"file\",\"size\":1,\"x\":\"%s\"},\n", sent, padding)
				}
			}
		}))
		b := newBench(t, server.URL)
		b.canary()
		require.Equal(t, exit.Unreachable, exit.Of(b.once()), kind)
		server.Close()
		require.Less(t, sent, 100_000, kind)
		require.NoDirExists(t, b.config.Dest)
	}
}

// If modes or owners change, or files get new hard links, no bytes of the files are fetched
// again, however deep they lie, over HTTP and from a directory.
func TestNothingMovesForModesAndLinks(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		s.each(func(path string, _ os.FileInfo) { require.NoError(t, os.Chmod(path, 0o700)) })
		b.equal(s)
		require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")
		s.each(func(path string, _ os.FileInfo) { require.NoError(t, os.Lchown(path, 4242, 4242)) })
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")
		require.NoError(t, os.MkdirAll(s.path("linked"), 0o755))
		for _, name := range []string{"f", "g"} {
			require.NoError(t, os.Link(s.path("a/b/"+name), s.path("linked/"+name)))
		}
		s.each(nil)
		s.publish("linked/f")
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "fetched 2 files (7 bytes), deleted 0,", "the new names alone")
		diff, err := testtree.Differences(s.root, b.config.Dest)
		require.NoError(t, err)
		require.Empty(t, diff)
		b.requireIdle()
	}, "a/b/f = one", "a/b/g = four", "a/c = x", "d/e/h = y")
}

// each calls f with all files and directories except the root, and then publishes all
// directories, deepest first.
func (s *tree) each(f func(path string, info os.FileInfo)) {
	s.t.Helper()
	for _, name := range []string{"a/b/f", "a/b/g", "a/b", "a/c", "a", "d/e/h", "d/e", "d"} {
		info, err := os.Lstat(s.path(name))
		require.NoError(s.t, err)
		if f != nil {
			f(s.path(name), info)
		}
	}
	for _, name := range []string{"a/b/f", "a/c", "d/e/h"} {
		s.publish(name)
	}
}
