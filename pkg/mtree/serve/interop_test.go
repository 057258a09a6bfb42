//go:build interop

// The programs of Debian that people mirror with, run against a server: curl,
// wget, wget2, lftp, rclone, aria2, httrack, bsdtar, GNU tar, apt, and nginx,
// varnish and squid in between. A program that is missing fails its test.
package serve_test

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve"
)

// logged is a site that remembers what it was asked.
type logged struct {
	*site
	mu   sync.Mutex
	seen []string // "METHOD PATH STATUS"
}

// publishLogged serves a watched tree and records the requests.
func publishLogged(t *testing.T, cfg serve.Config, files map[string]string) *logged {
	t.Helper()
	l := &logged{site: publishWatched(t, cfg, files)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := &statusWriter{ResponseWriter: w, status: 200}
		l.h.ServeHTTP(status, r)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, r.Method+" "+r.URL.RequestURI()+" "+http.StatusText(status.status))
	}))
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requests returns what was asked since the last call, without robots.txt.
func (l *logged) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seen []string
	for _, one := range l.seen {
		if !strings.Contains(one, "robots.txt") {
			seen = append(seen, one)
		}
	}
	l.seen = nil
	sort.Strings(seen)
	return seen
}

// run runs a program in dir and returns what it printed.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, program, args...)
	require.NoError(t, err, "%s %q\n%s", program, args, out)
	return out
}

func try(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	_, err := exec.LookPath(program)
	require.NoError(t, err, "install the packages that .ci/run names")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8", "http_proxy=", "no_proxy=*")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// change writes a file and stamps its directories, as watch does.
func (s *site) change(name, content string) {
	s.Helper()
	s.write(name, content)
	now := disk.Now()
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if dir == "." {
			dir = ""
		}
		s.stamp(dir, now)
		if dir == "" {
			return
		}
	}
}

// published returns the regular files below dir by path: content and mtime to
// the second.
func published(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(d.Name(), ".") && path != dir {
			if err == nil && d.IsDir() {
				return fs.SkipDir
			}
			return err
		}
		if d.Type().IsRegular() && d.Name() != "index.html" && d.Name() != "robots.txt" {
			info, err := d.Info()
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, path)
			files[rel] = info.ModTime().UTC().Format(time.RFC3339) + " " + string(content)
		}
		return nil
	}))
	return files
}

// ordinary is a tree whose names every client manages.
var ordinary = map[string]string{
	"a.txt": "one", "b c.txt": "two", "d/e/f.txt": "three", "d/e/x&y;z:w.txt": "four", "d/g/h.txt": "five",
	"i/100%.txt": "six", "i/q?#.txt": "seven", "好/é.txt": "eight", "empty/": "", "zero": "",
}

// curl: text by default, -z, ETags, ranges, compression.
func TestCurl(t *testing.T) {
	s := publishLogged(t, serve.Config{}, ordinary)
	work := t.TempDir()
	text := run(t, work, "curl", "-s", s.url+"/")
	l, err := mtree.ParseListing([]byte(text))
	require.NoError(t, err, text)
	require.Len(t, l.Entries, 7)
	require.Contains(t, run(t, work, "curl", "-s", "--compressed", s.url+"/?json"), `"name":"a.txt"`)
	for range 2 {
		run(t, work, "curl", "-s", "-o", "list", "--etag-compare", "tag", "--etag-save", "tag", s.url+"/?txt")
		run(t, work, "curl", "-s", "-R", "-o", "a.txt", "-z", "a.txt", s.url+"/a.txt")
	}
	s.requests()
	run(t, work, "curl", "-s", "-o", "list", "--etag-compare", "tag", "--etag-save", "tag", s.url+"/?txt")
	run(t, work, "curl", "-s", "-R", "-o", "a.txt", "-z", "a.txt", s.url+"/a.txt")
	require.Equal(t, []string{"GET /?txt Not Modified", "GET /a.txt Not Modified"}, s.requests())
	require.Equal(t, "ne", run(t, work, "curl", "-s", "-r", "1-2", s.url+"/a.txt"))
	require.Equal(t, 3, strings.Count(run(t, work, "curl", "-s", "-r", "0-0,1-1,2-2", s.url+"/a.txt"), "Content-Range:"))
	require.Contains(t, run(t, work, "curl", "-s", "-I", s.url+"/?txt"), "Tidemark-Stamp: "+mtree.FromTime(past).String())
	// The names of a listing are URLs as they stand.
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] != "-" {
			run(t, work, "curl", "-s", "-f", "-g", "-o", "out", s.url+"/"+fields[1])
		}
	}
}

// incremental is a tree for clients that come again.
var incremental = map[string]string{"a.txt": "one", "b c.txt": "two", "d/e/f.txt": "three", "d/g/h.txt": "five", "i/j.txt": "six"}

// wget -m, which stops descending at a 304, is a correct incremental client: an
// unchanged run is one request, a change costs its branch.
func TestWget(t *testing.T) {
	s := publishLogged(t, serve.Config{}, incremental)
	work := t.TempDir()
	args := []string{"-m", "-np", "-nH", "-nv", s.url + "/"}
	run(t, work, "wget", args...)
	require.Equal(t, published(t, s.root), published(t, work))
	require.NotContains(t, strings.Join(s.requests(), "\n"), "HEAD")
	run(t, work, "wget", args...)
	require.Equal(t, []string{"GET / Not Modified"}, s.requests())
	s.change("d/e/f.txt", "changed in place")
	elapse(t, s)
	run(t, work, "wget", args...)
	require.Equal(t, []string{
		"GET / OK", "GET /a.txt Not Modified", "GET /b%20c.txt Not Modified", "GET /d/ OK", "GET /d/e/ OK",
		"GET /d/e/f.txt OK", "GET /d/g/ Not Modified", "GET /i/ Not Modified",
	}, s.requests())
	require.Equal(t, published(t, s.root)["d/e/f.txt"], published(t, work)["d/e/f.txt"])
}

// wget -m asks by date: what a symlink leads to is seen all the same.
func TestWgetThroughLinks(t *testing.T) {
	s := publishLogged(t, serve.Config{}, map[string]string{"a/f": "one", "d/e/l": "-> ../../a/f"})
	work := t.TempDir()
	args := []string{"-m", "-np", "-nH", "-nv", s.url + "/"}
	run(t, work, "wget", args...)
	s.change("a/f", "changed")
	elapse(t, s)
	require.NoError(t, os.Chtimes(s.path("d"), time.Now(), time.Now())) // else wget does not go down to it
	run(t, work, "wget", args...)
	copied, err := os.ReadFile(work + "/d/e/l")
	require.NoError(t, err)
	require.Equal(t, "changed", string(copied), s.requests())
}

// wget2 goes on below a 304, by its copy of the page: nothing unchanged is sent
// again, no page is asked for twice.
func TestWget2(t *testing.T) {
	s := publishLogged(t, serve.Config{}, incremental)
	work := t.TempDir()
	args := []string{"-m", "-np", "-nH", "-nv", s.url + "/"}
	run(t, work, "wget2", args...)
	require.Equal(t, published(t, s.root), published(t, work))
	first := s.requests()
	require.Len(t, first, 10, "5 files, 5 directories: %q", first)
	s.change("d/e/f.txt", "changed in place")
	elapse(t, s)
	run(t, work, "wget2", args...)
	var sent []string
	for _, one := range s.requests() {
		if strings.HasSuffix(one, "OK") {
			sent = append(sent, one)
		}
	}
	require.Equal(t, []string{"GET / OK", "GET /d/ OK", "GET /d/e/ OK", "GET /d/e/f.txt OK"}, sent)
	require.Equal(t, published(t, s.root), published(t, work))
}

// elapse waits until the date of the last change is no longer held back.
func elapse(t *testing.T, s *logged) {
	t.Helper()
	want := s.list("/").Stamp.Time().UTC().Format(http.TimeFormat)
	require.Eventually(t, func() bool { return s.get("/?txt").Header.Get("Last-Modified") == want }, 10*time.Second, 50*time.Millisecond)
	s.requests()
}

// lftp mirrors without a HEAD for each file, with times exact to the second.
func TestLftp(t *testing.T) {
	s := publishLogged(t, serve.Config{}, ordinary)
	work := t.TempDir()
	script := "open " + s.url + "/; mirror --delete . copy; exit"
	run(t, work, "lftp", "-f", writeFile(t, work+"/script", script))
	require.Equal(t, published(t, s.root), published(t, work+"/copy"))
	for _, one := range s.requests() {
		if strings.HasPrefix(one, "HEAD") {
			require.Regexp(t, `^HEAD \S*/ `, one, "no HEAD for a file")
		}
	}
	info, err := os.Stat(work + "/copy/d/e")
	require.NoError(t, err)
	require.Equal(t, past.Truncate(time.Second), info.ModTime().UTC())
	s.change("d/e/f.txt", "other")
	require.NoError(t, os.Remove(s.path("zero")))
	run(t, work, "lftp", "-f", work+"/script")
	require.Equal(t, published(t, s.root), published(t, work+"/copy"))
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// rclone copies, syncs and checks over its http backend.
func TestRclone(t *testing.T) {
	s := publishLogged(t, serve.Config{}, ordinary)
	work := t.TempDir()
	for _, base := range []string{s.url + "/", s.url} {
		run(t, work, "rclone", "sync", "--http-url", base, ":http:", "copy")
		require.Equal(t, published(t, s.root), published(t, work+"/copy"))
		run(t, work, "rclone", "check", "--http-url", base, ":http:", "copy")
	}
	s.change("d/new.txt", "new")
	require.NoError(t, os.Remove(s.path("zero")))
	run(t, work, "rclone", "sync", "--http-url", s.url+"/", ":http:", "copy")
	require.Equal(t, published(t, s.root), published(t, work+"/copy"))
	run(t, work, "rclone", "copy", "--http-url", s.url+"/d", ":http:", "sub") // a directory without its slash
	require.Equal(t, published(t, s.root+"/d"), published(t, work+"/sub"))
}

// aria2 fetches in several ranges at once, keeps the time, and asks again with
// a condition.
func TestAria2(t *testing.T) {
	s := publishLogged(t, serve.Config{}, nil)
	content := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	s.write("big.bin", content)
	s.settle()
	work := t.TempDir()
	args := []string{"-q", "-x4", "-s4", "-k1M", "--remote-time", "--conditional-get", "--allow-overwrite", "--file-allocation=none", s.url + "/big.bin"}
	run(t, work, "aria2c", args...)
	require.Equal(t, published(t, s.root), published(t, work))
	require.Greater(t, len(s.requests()), 1)
	run(t, work, "aria2c", args...)
	require.Equal(t, []string{"GET /big.bin Not Modified"}, s.requests())
}

// httrack takes every page once, and no query pages.
func TestHttrack(t *testing.T) {
	s := publishLogged(t, serve.Config{}, map[string]string{"a.txt": "one", "d/e/f.txt": "three"})
	work := t.TempDir()
	run(t, work, "httrack", s.url+"/", "-O", work, "-q", "-%v0", "--robots=0", "-r5")
	all := strings.Join(s.requests(), "\n")
	require.NotContains(t, all, "?")
	require.Contains(t, all, "/d/e/f.txt OK")
	copied, err := filepath.Glob(work + "/127.0.0.1_*/d/e/f.txt")
	require.NoError(t, err)
	require.Len(t, copied, 1)
}

// GNU tar and bsdtar unpack ?tar with every name and nanosecond times.
func TestTarPrograms(t *testing.T) {
	s := publishLogged(t, serve.Config{Tar: true}, map[string]string{
		"a b": "1", "d/好": "2", "d/\xff": "3", "d/" + strings.Repeat("n", 250): "4", "l": "-> d/\xfe", "e/": "",
	})
	for _, program := range []string{"tar", "bsdtar"} {
		work := t.TempDir()
		run(t, work, "curl", "-s", "-f", "-o", "all.tar", s.url+"/?tar")
		run(t, work, program, "xpf", "all.tar")
		require.NoError(t, os.Remove(work+"/all.tar"))
		require.Equal(t, published(t, s.root), published(t, work), program)
		info, err := os.Stat(work + "/d/\xff")
		require.NoError(t, err)
		require.Equal(t, past, info.ModTime().UTC(), program)
		info, err = os.Stat(work + "/d")
		require.NoError(t, err)
		require.Equal(t, past, info.ModTime().UTC(), program)
		link, err := os.Readlink(work + "/l")
		require.NoError(t, err)
		require.Equal(t, "d/\xfe", link)
	}
}

// apt updates from a flat repository, installs nothing but downloads, and asks
// with a condition the next time.
func TestApt(t *testing.T) {
	work := t.TempDir()
	require.NoError(t, os.MkdirAll(work+"/pkg/DEBIAN", 0o755))
	writeFile(t, work+"/pkg/DEBIAN/control", "Package: tidetest\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: test\n")
	run(t, work, "dpkg-deb", "--root-owner-group", "-b", "pkg", "tidetest_1.0_all.deb")
	deb, err := os.ReadFile(work + "/tidetest_1.0_all.deb")
	require.NoError(t, err)
	sum := strings.Fields(run(t, work, "sha256sum", "tidetest_1.0_all.deb"))[0]
	s := publishLogged(t, serve.Config{}, map[string]string{
		"repo/tidetest_1.0_all.deb": string(deb),
		"repo/Packages": "Package: tidetest\nVersion: 1.0\nArchitecture: all\nFilename: ./tidetest_1.0_all.deb\nSize: " +
			strconv.Itoa(len(deb)) + "\nSHA256: " + sum + "\nMaintainer: x <x@example.org>\nDescription: test\n\n",
	})
	writeFile(t, work+"/sources.list", "deb [trusted=yes] "+s.url+"/repo ./\n")
	for _, dir := range []string{"lists/partial", "cache/archives/partial", "state"} {
		require.NoError(t, os.MkdirAll(work+"/"+dir, 0o755))
	}
	writeFile(t, work+"/state/status", "")
	apt := func(args ...string) {
		run(t, work, "apt-get", append([]string{
			"-o", "Dir::Etc::sourcelist=" + work + "/sources.list", "-o", "Dir::Etc::sourceparts=-",
			"-o", "Dir::State::lists=" + work + "/lists", "-o", "Dir::Cache=" + work + "/cache",
			"-o", "Dir::State::status=" + work + "/state/status", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none",
		}, args...)...)
	}
	apt("update")
	apt("download", "tidetest")
	got, err := os.ReadFile(work + "/tidetest_1.0_all.deb")
	require.NoError(t, err)
	require.Equal(t, deb, got)
	s.requests()
	apt("update")
	require.Contains(t, s.requests(), "GET /repo/./Packages Not Modified")
}

// inFront starts a caching proxy before the site and waits until it answers.
func inFront(t *testing.T, s *logged, port string, program string, args ...string) *site {
	t.Helper()
	_, err := exec.LookPath(program)
	require.NoError(t, err, "install the packages that .ci/run names")
	cmd := exec.Command(program, args...)

	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
		}
	})
	proxied := &site{T: t, root: s.root, h: s.h, cfg: s.cfg, url: "http://127.0.0.1:" + port}
	require.Eventually(t, func() bool {
		response, err := http.Get(proxied.url + "/?status")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil && response.StatusCode == 200
	}, 20*time.Second, 50*time.Millisecond, program)
	return proxied
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// throughCache is what must hold with any shared cache in between: a listing is
// at most a moment old, never one stamp with another's content, a long poll
// passes, files are asked about each time.
func throughCache(t *testing.T, s *logged, proxied *site) {
	for i := range 5 {
		content := strings.Repeat("x", i+1)
		before := proxied.get("/d/?txt")
		s.change("d/f", content)
		want := s.list("/d/")
		require.Eventually(t, func() bool {
			a := proxied.get("/d/?txt")
			l, err := mtree.ParseListing([]byte(a.body))
			require.NoError(t, err)
			require.Equal(t, l.Stamp.String(), a.Header.Get("Tidemark-Stamp"))
			if l.Stamp != want.Stamp {
				require.Equal(t, before.body[:20], a.body[:20], "old or new")
				return false
			}
			require.Equal(t, int64(i+1), l.Entries[0].Size)
			return true
		}, 10*time.Second, 50*time.Millisecond)
		// no-cache asks the server itself.
		fresh, err := mtree.ParseListing([]byte(proxied.get("/d/?txt", "Cache-Control", "no-cache").body))
		require.NoError(t, err)
		require.Equal(t, want.Stamp, fresh.Stamp)
		require.Equal(t, content, proxied.get("/d/f").body)
	}
	tag := proxied.get("/d/?txt", "Accept-Encoding", "gzip").Header.Get("ETag")
	require.Equal(t, 304, proxied.get("/d/?txt", "Accept-Encoding", "gzip", "If-None-Match", tag).StatusCode)
	// nginx and varnish take the condition out of a request that they may store
	// the answer of. The long poll that carries its stamp in the URL passes all.
	target := "/d/?txt&wait=30&since=" + s.list("/d/").Stamp.String()
	done := make(chan answer)
	go func() { done <- proxied.get(target) }()
	s.waiting(1)
	s.change("d/g", "new")
	a := <-done
	require.Equal(t, 200, a.StatusCode)
	require.Contains(t, a.body, " g\t3\t")
	quiet := proxied.get("/d/?txt&wait=0.1&since=" + s.list("/d/").Stamp.String())
	require.Equal(t, 200, quiet.StatusCode)
	require.Equal(t, "#stamp "+s.list("/d/").Stamp.String()+"\n", quiet.body)
}

// TestNginxCache: proxy_cache, with revalidation and a lock.
func TestNginxCache(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o755))
	conf := writeFile(t, work+"/nginx.conf", `daemon off; user root; pid `+work+`/pid; error_log stderr; worker_processes 1;
events { worker_connections 64; }
http {
  access_log off; proxy_cache_path `+work+`/cache keys_zone=z:1m;
  client_body_temp_path `+work+`/b; proxy_temp_path `+work+`/p; fastcgi_temp_path `+work+`/f; uwsgi_temp_path `+work+`/u; scgi_temp_path `+work+`/s;
  server { listen 127.0.0.1:`+port+`; location / {
    proxy_pass `+s.url+`; proxy_cache z; proxy_cache_revalidate on; proxy_cache_lock on; proxy_cache_bypass $http_cache_control;
    gzip on; gzip_types text/plain; gzip_proxied any; } } }`)
	throughCache(t, s, inFront(t, s, port, "nginx", "-e", "stderr", "-c", conf))
}

// TestVarnish: the default VCL.
func TestVarnish(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o755))
	throughCache(t, s, inFront(t, s, port, "varnishd", "-F", "-n", work+"/v", "-a", "127.0.0.1:"+port,
		"-b", strings.TrimPrefix(s.url, "http://"), "-s", "malloc,16m"))
}

// TestSquid: a reverse proxy with collapsed forwarding.
func TestSquid(t *testing.T) {
	s := publishLogged(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/f": ""})
	work, port := t.TempDir(), freePort(t)
	require.NoError(t, os.Chmod(work, 0o777))
	_, origin, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	conf := writeFile(t, work+"/squid.conf", `http_port 127.0.0.1:`+port+` accel defaultsite=x no-vhost
cache_peer 127.0.0.1 parent `+origin+` 0 no-query originserver
http_access allow all
collapsed_forwarding on
cache_mem 16 MB
access_log none
cache_log `+work+`/cache.log
pid_filename `+work+`/pid
coredump_dir `+work+`
shutdown_lifetime 1 second
`)
	throughCache(t, s, inFront(t, s, port, "squid", "-N", "-f", conf))
}
