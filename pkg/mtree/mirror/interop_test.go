//go:build interop

// Common web servers as sources: Debian's programs, which .ci/run installs. A missing
// one is a failure.
package mirror

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
)

// otherServer is a server of another kind. config is written to {DIR}/config. In it and
// in command, {DIR} is a directory for the server, {PORT} its port and {TREE} what it serves.
type otherServer struct {
	name    string
	config  string
	command string
	env     string
}

func nginxServer(name, load, options, env string) otherServer {
	return otherServer{name: name, env: env, command: "nginx -c {DIR}/config -e {DIR}/error.log -p {DIR}", config: load + `
daemon off; master_process off; pid {DIR}/pid; error_log {DIR}/error.log; events {}
http {
	access_log off; client_body_temp_path {DIR}; proxy_temp_path {DIR}; fastcgi_temp_path {DIR}; uwsgi_temp_path {DIR}; scgi_temp_path {DIR};
	server { listen 127.0.0.1:{PORT}; root {TREE}; charset utf-8; ` + options + ` }
}
`}
}

func apacheServer(name, options, env string) otherServer {
	return otherServer{name: name, env: env, command: "apache2 -d {DIR} -f {DIR}/config -DFOREGROUND", config: `
ServerName localhost
Listen 127.0.0.1:{PORT}
PidFile {DIR}/pid
ErrorLog {DIR}/error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule autoindex_module /usr/lib/apache2/modules/mod_autoindex.so
DocumentRoot {TREE}
<Directory {TREE}>
	Options Indexes
	Require all granted
	IndexOptions Charset=UTF-8 ` + options + `
</Directory>
`}
}

const (
	fancyModule = "load_module /usr/lib/nginx/modules/ngx_http_fancyindex_module.so;"
	kathmandu   = "TZ=NPT-5:45" // not a whole number of hours from UTC
)

var otherServers = []otherServer{
	nginxServer("nginx html", "", "autoindex on;", ""),
	nginxServer("nginx html, rounded sizes, local time", "", "autoindex on; autoindex_exact_size off; autoindex_localtime on;", kathmandu),
	nginxServer("nginx json", "", "autoindex on; autoindex_format json;", ""),
	nginxServer("nginx xml", "", "autoindex on; autoindex_format xml;", ""),
	nginxServer("nginx fancyindex", fancyModule, "fancyindex on;", ""),
	nginxServer("nginx fancyindex, exact sizes, local time", fancyModule, "fancyindex on; fancyindex_exact_size on; fancyindex_localtime on;", kathmandu),
	apacheServer("apache fancy", "FancyIndexing NameWidth=*", ""),
	apacheServer("apache table, local time", "FancyIndexing HTMLTable", kathmandu),
	apacheServer("apache plain", "", ""),
	{name: "lighttpd", command: "lighttpd -D -f {DIR}/config", config: `
server.modules = ( "mod_dirlisting" )
server.document-root = "{TREE}"
server.bind = "127.0.0.1"
server.port = {PORT}
server.errorlog = "{DIR}/error.log"
server.stat-cache-engine = "disable"
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
mimetype.assign = ( "" => "application/octet-stream" )
`, env: kathmandu},
	{name: "rclone", command: "rclone serve http --dir-cache-time 0s --addr 127.0.0.1:{PORT} {TREE}", env: kathmandu},
	{name: "python", command: "python3 -m http.server --bind 127.0.0.1 -d {TREE} {PORT}"},
	{name: "caddy", command: "caddy file-server --browse --root {TREE} --listen 127.0.0.1:{PORT}", env: "CADDY_ADMIN=off"},
	{name: "webfs", command: "webfsd -F -4 -i 127.0.0.1 -p {PORT} -r {TREE}", env: kathmandu},
}

// start runs the server for a tree until the test ends and returns its URL.
func (o otherServer) start(t *testing.T, tree string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	dir := t.TempDir()
	for _, open := range []string{filepath.Dir(dir), filepath.Dir(tree)} { // some give up root
		require.NoError(t, os.Chmod(open, 0o755))
	}
	fill := strings.NewReplacer("{DIR}", dir, "{PORT}", port, "{TREE}", tree)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), []byte(fill.Replace(o.config)), 0o644))
	args := strings.Fields(fill.Replace(o.command))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if o.env != "" {
		cmd.Env = append(cmd.Env, o.env)
	}
	cmd.Stderr = testWriter{t}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	url := "http://127.0.0.1:" + port + "/"
	require.True(t, assertEventually(func() bool {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}))
	return url
}

// Everything arrives, with the times of the files. Equal files are not fetched again. A
// change and a deletion arrive, and nothing else is fetched. Each pass is a full walk, and
// the log says so.
func TestOtherServers(t *testing.T) {
	for _, o := range otherServers {
		t.Run(o.name, func(t *testing.T) {
			root := t.TempDir()
			// Names sort in the order of the passes below. All times but one are
			// old: young files are fetched a second time.
			testtree.Make(t, root, "a/b/deep = x @1000000000", "a/100%25 + ä b#?.txt = name @1000000001",
				"a/"+strings.Repeat("long-", 30)+" = l @1000000000",
				"big = "+strings.Repeat("b", 5000)+" @1000000060", "gone = x @1000000000", "empty/", "c;d&e<f>'g = z @1000000000")
			for _, dir := range []string{"empty", "a/b", "a", "."} { // webfs lists a directory again only if its second changed
				require.NoError(t, os.Chtimes(filepath.Join(root, dir), time.Unix(1e9, 0), time.Unix(1e9, 0)))
			}
			b := newBench(t, o.start(t, root))
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
			o.cutAnywhere(t, b.config.Source)
		})
	}
}

// cutAnywhere requires that the server's own page is refused if it ends early.
func (o otherServer) cutAnywhere(t *testing.T, url string) {
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
	var o otherServer
	for _, o = range otherServers {
		if o.name == "lighttpd" {
			break
		}
	}
	o.config = strings.Replace(o.config, `"" => "application/octet-stream"`, `".txt" => "text/plain"`, 1)
	root := t.TempDir()
	testtree.Make(t, root, "a.odd = x @1000000000", "b.txt = y @1000000001", "c.odd = z @1000000002")
	b := newBench(t, o.start(t, root))
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
	b := newBench(t, otherServer{command: "busybox httpd -f -p 127.0.0.1:{PORT} -h {TREE}"}.start(t, root))
	err := b.once()
	require.Equal(t, exit.Unreachable, exit.Of(err), "%v", err)
	var with *exit.Error
	require.True(t, errors.As(err, &with))
	require.NotEmpty(t, with.Remedy)
	require.NoDirExists(t, b.config.Dest)
}
