//go:build interop

// The programs of Debian that people mirror with, run against a server: curl,
// wget, wget2, lftp, rclone, aria2, httrack, bsdtar, GNU tar, apt, and nginx,
// varnish and squid in between. A program that is missing fails its test.
package serve_test

import (
	"context"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
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
	l.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := &statusWriter{ResponseWriter: w, status: 200}
		l.h.ServeHTTP(status, r)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, r.Method+" "+r.URL.RequestURI()+" "+http.StatusText(status.status))
	}))
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
	now := machine.Now()
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
	// A file of this second has the date of the one before, until that is over: the next sync sets it right.
	for range 5 {
		run(t, work, "rclone", "sync", "--http-url", s.url+"/", ":http:", "copy")
		if maps.Equal(published(t, s.root), published(t, work+"/copy")) {
			break
		}
		<-time.After(time.Second)
	}
	require.Equal(t, published(t, s.root), published(t, work+"/copy"))
	run(t, work, "rclone", "copy", "--http-url", s.url+"/d", ":http:", "sub") // a directory without its slash
	require.Equal(t, published(t, s.root+"/d"), published(t, work+"/sub"))
}

// aria2 fetches in several ranges at once, keeps the time, and asks again with
// a condition.
func TestAria2(t *testing.T) {
	s := publishLogged(t, serve.Config{}, nil)
	content := strings.Repeat("0123456789abcdef", 1<<22) // 64 MiB: less may have arrived before aria2 asks for the second range
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
