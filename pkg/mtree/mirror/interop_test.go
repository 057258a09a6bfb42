//go:build interop

// Common web servers as sources: Debian's programs, which .ci/run installs. A missing
// one is a failure.
package mirror

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/internal/webserver"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
)

const (
	fancyModule = "load_module /usr/lib/nginx/modules/ngx_http_fancyindex_module.so;"
	kathmandu   = "TZ=NPT-5:45" // not a whole number of hours from UTC
)

var otherServers = []webserver.Server{
	webserver.Nginx("nginx html", "", "autoindex on;"),
	webserver.Nginx("nginx html, rounded sizes, local time", "", "autoindex on; autoindex_exact_size off; autoindex_localtime on;").With(kathmandu),
	webserver.Nginx("nginx json", "", "autoindex on; autoindex_format json;"),
	webserver.Nginx("nginx xml", "", "autoindex on; autoindex_format xml;"),
	webserver.Nginx("nginx fancyindex", fancyModule, "fancyindex on;"),
	webserver.Nginx("nginx fancyindex, exact sizes, local time", fancyModule, "fancyindex on; fancyindex_exact_size on; fancyindex_localtime on;").With(kathmandu),
	webserver.Apache("apache fancy", "FancyIndexing NameWidth=*"),
	webserver.Apache("apache table, local time", "FancyIndexing HTMLTable").With(kathmandu),
	webserver.Apache("apache plain", ""),
	webserver.Lighttpd.With(kathmandu),
	webserver.Rclone.With(kathmandu),
	webserver.Python,
	webserver.Caddy,
	webserver.Webfs.With(kathmandu),
}

// startServer runs a server for a tree until the test ends and returns its URL.
func startServer(t *testing.T, s webserver.Server, tree string) string {
	t.Helper()
	require.NoError(t, os.Chmod(filepath.Dir(tree), 0o755)) // of the test's own directory
	running, err := s.Start(tree, testWriter{t})
	require.NoError(t, err)
	t.Cleanup(running.End)
	return running.URL
}

// Everything arrives, with the times of the files. Equal files are not fetched again. A
// change and a deletion arrive, and nothing else is fetched. Each pass is a full walk, and
// the log says so.
func TestOtherServers(t *testing.T) {
	for _, o := range otherServers {
		t.Run(o.Name, func(t *testing.T) {
			root := t.TempDir()
			// Names sort in the order of the passes below. All times but one are
			// old: young files are fetched a second time.
			testtree.Make(t, root, "a/b/deep = x @1000000000", "a/100%25 + ä b#?.txt = name @1000000001",
				"a/"+strings.Repeat("long-", 30)+" = l @1000000000",
				"big = "+strings.Repeat("b", 5000)+" @1000000060", "gone = x @1000000000", "empty/", "c;d&e<f>'g = z @1000000000")
			for _, dir := range []string{"empty", "a/b", "a", "."} { // webfs lists a directory again only if its second changed
				require.NoError(t, os.Chtimes(filepath.Join(root, dir), time.Unix(1e9, 0), time.Unix(1e9, 0)))
			}
			b := newBench(t, startServer(t, o, root))
			var log bytes.Buffer
			b.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			require.NoError(t, b.once(), &log)
			b.sameBytes(root)
			require.Contains(t, b.out.String(), "fetched 6 files")
			require.Contains(t, log.String(), "every pass is a full walk")
			b.sameTimes(root)
			require.NoError(t, b.once(), &log)
			require.Contains(t, b.out.String(), "fetched 0 files", "what is equal is not fetched again")

			testtree.Make(t, root, "a/b/deep = y @1000000120", "a/new = n @1000000000")
			require.NoError(t, os.Remove(filepath.Join(root, "gone")))
			require.NoError(t, b.once(), &log)
			b.sameBytes(root)
			b.sameTimes(root)
			require.Contains(t, b.out.String(), "fetched 2 files (2 bytes), deleted 1, held 0")

			// Another hour and the same size: that is not another zone.
			testtree.Make(t, root, "a/b/deep = z @1000003720")
			require.NoError(t, b.once(), &log)
			b.sameBytes(root)
			b.sameTimes(root)
			require.Contains(t, b.out.String(), "fetched 1 files (1 bytes), deleted 0, held 0")
			require.NoError(t, b.once(), &log)
			require.Contains(t, b.out.String(), "fetched 0 files")
			cutAnywhere(t, b.config.Source)
		})
	}
}

// cutAnywhere requires that the server's own page is refused if it ends early.
func cutAnywhere(t *testing.T, url string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", autoindex.Accept)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	whole, _, err := autoindex.Parse(page, resp.Header.Get("Content-Type"), resp.Request.URL.EscapedPath())
	require.NoError(t, err)
	require.Len(t, whole, 4, "%s", page)
	for cut := range len(bytes.TrimSpace(page)) {
		_, _, err := autoindex.Parse(page[:cut], resp.Header.Get("Content-Type"), resp.Request.URL.EscapedPath())
		require.ErrorIs(t, err, mtree.ErrListing, "cut at %d: %s", cut, page[:cut])
	}
}

// sameTimes requires the times of the files, in whole seconds.
func (b *bench) sameTimes(root string) {
	b.t.Helper()
	require.NoError(b.t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		want, err := os.Stat(path)
		require.NoError(b.t, err)
		got, err := os.Stat(b.path(name))
		require.NoError(b.t, err)
		require.Equal(b.t, want.ModTime().Unix(), got.ModTime().Unix(), name)
		return nil
	}))
}

// sameBytes requires the names and the bytes of root in the copy.
func (b *bench) sameBytes(root string) {
	b.t.Helper()
	files := func(root string) map[string]string {
		all := map[string]string{}
		require.NoError(b.t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if d.Name() == ".tidemark" {
				return filepath.SkipDir
			}
			name, _ := filepath.Rel(root, path)
			if all[name] = "directory"; !d.IsDir() {
				text, err := os.ReadFile(path)
				require.NoError(b.t, err)
				all[name] = string(text)
			}
			return err
		}))
		return all
	}
	require.Equal(b.t, files(root), files(b.config.Dest))
}

// lighttpd sends no date with a file of a type that it does not know. The file then gets
// the time that is listed, without the offset of the zone if another file has shown it, and
// is not fetched again and again.
func TestLighttpdWithoutTypes(t *testing.T) {
	o := webserver.Lighttpd.With(kathmandu)
	o.Config = strings.Replace(o.Config, `"" => "application/octet-stream"`, `".txt" => "text/plain"`, 1)
	root := t.TempDir()
	testtree.Make(t, root, "a.odd = x @1000000000", "b.txt = y @1000000001", "c.odd = z @1000000002")
	b := newBench(t, startServer(t, o, root))
	require.NoError(t, b.once())
	b.sameBytes(root)
	for range 2 {
		require.NoError(t, b.once())
	}
	require.Contains(t, b.out.String(), "fetched 0 files")
	b.sameTimes(root)
	testtree.Make(t, root, "a.odd = X @1000003600")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "fetched 1 files")
	b.sameBytes(root)
	b.sameTimes(root)
}

// busybox httpd has no listings: that is not an empty tree.
func TestAServerWithoutListings(t *testing.T) {
	root := t.TempDir()
	testtree.Make(t, root, "a/f = x", "g = y")
	b := newBench(t, startServer(t, webserver.Server{Command: "busybox httpd -f -p 127.0.0.1:{PORT} -h {TREE}"}, root))
	err := b.once()
	require.Equal(t, exit.Unreachable, exit.Of(err), "%v", err)
	var with *exit.Error
	require.True(t, errors.As(err, &with))
	require.NotEmpty(t, with.Remedy)
	require.NoDirExists(t, b.config.Dest)
}
