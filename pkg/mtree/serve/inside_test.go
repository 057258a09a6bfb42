package serve_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// raw sends bytes as they are and returns the status.
func (s *site) raw(request string) (int, string) {
	s.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(s, err)
	defer conn.Close()
	require.NoError(s, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(s, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(s, err)
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// Nothing outside the root, in any spelling.
func TestNoWayOut(t *testing.T) {
	outer := t.TempDir()
	require.NoError(t, os.WriteFile(outer+"/secret", []byte("secret"), 0o644))
	require.NoError(t, os.Mkdir(outer+"/private", 0o755))
	root := outer + "/root"
	require.NoError(t, os.Mkdir(root, 0o755))
	s := publishWatched(t, serve.Config{Root: root}, map[string]string{
		"d/x": "1", "abs": "-> /etc/passwd", "out": "-> ../secret", "d/out": "-> ../../secret", "dir": "-> ..",
		"d/dir": "-> ../../private", "chain": "-> d/out", "loop": "-> loop", "a": "-> b", "b": "-> a",
		"proc": "-> /proc/self/root/etc/passwd",
	})
	for _, target := range []string{
		"/../secret", "/d/../../secret", "/%2e%2e/secret", "/%2E%2E%2Fsecret", "/..%2fsecret", "/d/%2e%2e/%2e%2e/secret",
		"/.%2e/secret", "/%252e%252e/secret", "/..\\secret", "/..%5csecret", "/d/..;/secret", "/%c0%ae%c0%ae/secret",
		"/..%00/secret", "/secret%00", "/%00", "//../secret", "/./../secret", "/d/x/../../../secret",
		"/abs", "/out", "/d/out", "/dir/secret", "/dir/", "/dir", "/d/dir", "/d/dir/", "/chain", "/loop", "/a", "/proc",
		"/abs/", "/d%2fx", "/%", "/%zz", "/d/x/", "/d/x/y", "/out/nothing", "/dir/nothing", "/d/dir/nothing",
	} {
		status, body := s.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Contains(t, []int{404, 400}, status, target)
		require.NotContains(t, body, "secret\n")
		require.NotContains(t, body, outer, "no path of the host in an answer")
	}
	require.Equal(t, "1", s.get("/d/x").body)
	require.Equal(t, "1", s.get("//d//x").body, "doubled slashes count as one, as with nginx")
	for target, want := range map[string]int{"/./d/./x": 200, "/d/.": 200, "/d/./": 200, "/.": 200, "/d/%2e/x": 404} {
		status, _ := s.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Equal(t, want, status, target)
	}
}

// A link out of the root tells nothing of what is there, not even whether it
// exists or what type it has.
func TestNoOracle(t *testing.T) {
	outer := t.TempDir()
	require.NoError(t, os.MkdirAll(outer+"/private/dir", 0o755))
	require.NoError(t, os.WriteFile(outer+"/private/file", nil, 0o644))
	require.NoError(t, os.Mkdir(outer+"/root", 0o755))
	s := publishWatched(t, serve.Config{Root: outer + "/root"}, map[string]string{"l": "-> ../private"})
	want := s.get("/l/none").body
	for _, target := range []string{"/l/dir", "/l/dir/", "/l/file", "/l/file/", "/l/file/x"} {
		a := s.get(target)
		require.Equal(t, 404, a.StatusCode, target)
		require.Equal(t, want, a.body, target)
	}
}

// No .tidemark at any depth, no dotfiles unless --hidden, nothing excluded: in
// no format, by no URL, through no link, by no list of paths.
func TestInvisible(t *testing.T) {
	files := map[string]string{
		"a": "1", ".dot": "1", "d/.dot/x": "1", "d/.tidemark/x": "1", "x.o": "1", "d/x.o": "1", "build/x": "1", "deep/er/secret/x": "1",
		"l1": "-> .dot", "l2": "-> .tidemark/tree", "l3": "-> x.o", "l4": "-> build", "l5": "-> build/x", "l6": "-> d/.dot", "l7": "-> deep/er/secret/x",
	}
	cfg := serve.Config{Exclude: []string{"*.o", "/build/", "er/secret"}, Tar: true}
	hiddenOnes := []string{".dot", "d/.dot/x", "d/.dot/", "x.o", "d/x.o", "build/x", "build/", "build", "deep/er/secret/x", "deep/er/secret/", "deep/er/secret"}
	never := []string{".tidemark", ".tidemark/", ".tidemark/tree", "d/.tidemark/", "d/.tidemark/x", ".tidemark/status.json"}
	s := publishWatched(t, cfg, files)
	links := []string{"l1", "l2", "l3", "l4", "l4/", "l5", "l6", "l6/", "l7", "l6/x"}
	for _, path := range append(append(append([]string{}, hiddenOnes...), never...), links...) {
		require.Equal(t, 404, s.get("/"+path).StatusCode, path)
		require.Equal(t, 404, s.do(http.MethodHead, "/"+path, nil).StatusCode, path)
	}
	for _, format := range []string{"txt", "json", "html", "recent=100", "recent=100&json", "since=0", "sums", "tar"} {
		for _, dir := range []string{"/", "/d/", "/deep/er/"} {
			body := s.get(dir + "?" + format).body
			for _, name := range []string{".dot", "x.o", "status.json", `href="build`, "secret/x", "build/x"} {
				for line := range strings.SplitSeq(body, "\n") {
					if strings.Contains(line, "link") || strings.Contains(line, `class="l"`) || format == "tar" {
						continue // a link's target is its content
					}
					require.NotContains(t, line, name, "%s %s", dir, format)
				}
			}
		}
	}
	list := strings.Join(append(append([]string{"a"}, ".dot", "x.o", "build/x", "d/.dot/x", "l1", "l3"), "deep/er/secret/x"), "\n")
	sums := s.do(http.MethodPost, "/?sums", strings.NewReader(list)).body
	require.Equal(t, 1, strings.Count(sums, "\n"), sums)
	require.Contains(t, s.get("/?txt").body, "\thidden=3\texcluded=2\n") // .dot; x.o, build
	packed := tar.NewReader(strings.NewReader(s.do(http.MethodPost, "/?tar", strings.NewReader(list)).body))
	first, err := packed.Next()
	require.NoError(t, err)
	require.Equal(t, "a", first.Name)
	_, err = packed.Next()
	require.Equal(t, io.EOF, err)
	for _, dir := range []string{"/build/", "/deep/er/secret/", "/d/.dot/", "/.tidemark/"} {
		require.Equal(t, 404, s.do(http.MethodPost, dir+"?sums", strings.NewReader("")).StatusCode, dir)
	}

	cfg.Hidden, cfg.Root = true, s.root
	shown := &site{T: t, root: s.root, cfg: cfg}
	shown.start()
	require.Equal(t, 200, shown.get("/.dot").StatusCode)
	require.Contains(t, names(shown.list("/")), ".dot")
	require.Equal(t, 404, shown.get("/x.o").StatusCode)
	for _, path := range never {
		require.Equal(t, 404, shown.get("/"+path).StatusCode, path)
	}
	require.NotContains(t, names(shown.list("/d/")), ".tidemark")
}

// A directory swapped for a link out of the root, in a loop, while requests
// run: nothing from outside is ever sent.
func TestSwappedLinks(t *testing.T) {
	outer := t.TempDir()
	require.NoError(t, os.MkdirAll(outer+"/private", 0o755))
	require.NoError(t, os.WriteFile(outer+"/private/x", []byte("secret"), 0o644))
	require.NoError(t, os.Mkdir(outer+"/root", 0o755))
	s := publishWatched(t, serve.Config{Root: outer + "/root"}, map[string]string{"real/x": "public"})
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = os.Rename(s.path("real"), s.path("d"))
			_ = os.Rename(s.path("d"), s.path("real"))
			_ = os.Symlink("../private", s.path("d"))
			_ = os.Remove(s.path("d"))
		}
	}()
	seen := map[int]int{}
	for i := 0; i < 3000 && (i < 300 || len(seen) < 2); i++ {
		a := s.get([]string{"/d/x", "/d/?txt", "/d/?sums"}[i%3])
		require.NotContains(t, a.body, "secret")
		require.NotContains(t, a.body, "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b") // its sum
		seen[a.StatusCode]++
	}
	stop.Store(true)
	<-done
	require.Contains(t, seen, 404)
}

// Names of any byte: escaped or raw in the URL, in every format.
func TestExactNames(t *testing.T) {
	files := map[string]string{}
	odd := []string{"\xff\xfe", "a b", "a+b", "a%20b", "a%2fb", "?q", "#h", "a:b", "\n\t\r", "\\", "'\"", "好", "é", "e\u0301", "-", "~", "a;b", "a&b=c", "..."[:3] + "x", strings.Repeat("\x80", 254), "\u202e", "[x]", "{x}"}
	for _, name := range odd {
		if name[0] != '.' {
			files["d"+name+"/"+name] = name
		}
	}
	s := publishWatched(t, serve.Config{}, files)
	for _, e := range s.list("/").Entries {
		name := e.Name[1:]
		inner := s.list("/" + escapeAll(e.Name) + "/")
		require.Equal(t, []string{name}, names(inner))
		require.Equal(t, name, s.get("/"+escapeAll(e.Name)+"/"+escapeAll(name)).body)
	}
	require.Len(t, s.list("/").Entries, len(files))
	status, body := s.raw("GET /d\xff\xfe/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.Equal(t, 200, status)
	require.Equal(t, "\xff\xfe", body)
	// URLs as they stand in a text listing work as they are.
	for line := range strings.SplitSeq(s.get("/?txt").body, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] == "#end" || fields[1] == "./" {
			continue
		}
		status, _ := s.raw("GET /" + fields[1] + "?txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Equal(t, 200, status, line)
	}
}

func escapeAll(name string) string {
	var b strings.Builder
	for i := range len(name) {
		fmt.Fprintf(&b, "%%%02x", name[i])
	}
	return b.String()
}

// /dir: 301 with a relative Location, escaped, the query kept, never "//"; no
// byte in it that no URL holds.
func TestMissingSlash(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"d/e?f:g/x": "1", "evil.com/x": "1"})
	for target, want := range map[string]string{
		"/d":            "d/",
		"/d?txt&x=1":    "d/?txt&x=1",
		"/d/e%3Ff:g":    "e%3Ff%3Ag/",
		"//evil.com":    "evil.com/",
		"/%65vil.com?a": "evil.com/?a",
	} {
		a := s.get(target)
		require.Equal(t, 301, a.StatusCode, target)
		require.Equal(t, want, a.Header.Get("Location"), target)
		require.Equal(t, "no-cache", a.Header.Get("Cache-Control"))
	}
	require.Equal(t, "d/?a=%9B%C2%9B", s.get("/d?a=\x9b\u009b").Header.Get("Location"))
	// Behind a prefix it works as well.
	prefixed := http.StripPrefix("/files", s.h)
	r, err := http.NewRequest(http.MethodGet, "/files/d", nil)
	require.NoError(t, err)
	w := newRecorder()
	prefixed.ServeHTTP(w, r)
	require.Equal(t, "d/", w.Header().Get("Location"))
}

// Methods: GET, HEAD, POST for tar and sums; else 405. Bodies only with POST.
func TestMethods(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
		a := s.do(method, "/a", nil)
		require.Equal(t, 405, a.StatusCode, method)
		require.Contains(t, a.Header.Get("Allow"), "GET, HEAD")
	}
	status, _ := s.raw("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.Equal(t, 405, status)
	for _, target := range []string{"/a", "/", "/?txt", "/a?tar"} {
		require.Equal(t, 405, s.do(http.MethodPost, target, nil).StatusCode, target)
	}
	require.Equal(t, 400, s.do(http.MethodGet, "/?txt", strings.NewReader("body")).StatusCode)
	require.FileExists(t, s.path("a"))
}

// Errors are short text/plain, without a path of this host.
func TestErrors(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	a := s.get("/none")
	require.Equal(t, 404, a.StatusCode)
	require.Equal(t, "text/plain; charset=utf-8", a.Header.Get("Content-Type"))
	require.Equal(t, "404 not found\n", a.body)
	require.Empty(t, a.Header.Get("ETag"))
}

// What may not be read is 403, and never a short listing.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	s := publishWatched(t, serve.Config{Tar: true}, map[string]string{"d/x": "1", "f": "1"})
	require.NoError(t, os.Chmod(s.path("d"), 0))
	require.NoError(t, os.Chmod(s.path("f"), 0))
	t.Cleanup(func() { _ = os.Chmod(s.path("d"), 0o755) })
	root, ok := wire.ParseListingTag(s.get("/?txt").Header.Get("Etag"))
	require.True(t, ok)
	for _, target := range []string{"/d/?txt", "/d/x", "/f", "/d/?json", "/d/?sums"} {
		a := s.get(target)
		require.Equal(t, 403, a.StatusCode, target)
		require.Equal(t, root.Fingerprint, a.Header.Get("Tidemark-Options"), "whose rights did not suffice")
	}
	require.NoError(t, os.Chmod(s.path("d"), 0o400)) // names may be read, entries may not
	require.Equal(t, 403, s.get("/d/?txt").StatusCode)
	require.Equal(t, 200, s.get("/?txt").StatusCode, "siblings go on")
	for _, query := range []string{"html", "wait=0.01", "since=0", "recent=1", "sums", "tar"} {
		a := s.get("/d/?" + query)
		require.Equal(t, 403, a.StatusCode, query)
		require.Equal(t, "403 not readable\n", a.body, query)
	}
	// What goes through the whole tree passes over it; what names it leaves it out.
	paths, _ := changes(t, s.get("/?txt&since=0").body)
	require.Equal(t, []string{""}, paths)
	require.NotContains(t, s.get("/?txt&recent=9").body, "d/x")
	require.Empty(t, s.do(http.MethodPost, "/?sums", strings.NewReader("d/x\nf\n")).body)
}

// A directory that becomes a file, or a file a directory, is told as what it is
// now, also to those who wait.
func TestDirectoryBecomesFile(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/x": "1", "f": "2"})
	tag := s.get("/d/?txt").Header.Get("ETag")
	done := make(chan answer)
	go func() { done <- s.get("/d/?txt&wait=40", "If-None-Match", tag) }()
	s.waiting(1)
	require.NoError(t, os.RemoveAll(s.path("d")))
	require.Equal(t, 404, (<-done).StatusCode)
	require.NoError(t, os.Remove(s.path("f")))
	s.write("d", "a file now")
	s.write("f/y", "in a directory now")
	for target, want := range map[string]int{"/d": 200, "/d/": 404, "/d/?txt": 404, "/d/x": 404, "/d/?txt&wait=1": 404, "/d/?sums": 404, "/f": 301, "/f/?txt": 200, "/f/y": 200} {
		require.Equal(t, want, s.get(target, "If-None-Match", tag).StatusCode, target)
	}
	require.Equal(t, "a file now", s.get("/d").body)
}

// A root that is replaced or unmounted: listings and files 503, degraded, with
// Retry-After; never an empty listing.
func TestReplacedRoot(t *testing.T) {
	outer := t.TempDir()
	root := filepath.Join(outer, "root")
	require.NoError(t, os.Mkdir(root, 0o755))
	s := publishWatched(t, serve.Config{Root: root, Stats: &serve.Stats{}}, map[string]string{"a": "1", "d/x": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", tag) }()
	s.waiting(1)
	require.NoError(t, os.Rename(root, root+".old"))
	require.NoError(t, os.Mkdir(root, 0o755))
	for _, target := range []string{"/?txt", "/d/?json", "/d/?status", "/d/x"} {
		require.Eventually(t, func() bool { return s.get(target).StatusCode == 503 }, 5*time.Second, 10*time.Millisecond)
	}
	require.Equal(t, "5", s.get("/?txt").Header.Get("Retry-After"))
	require.Equal(t, 503, s.get("/?txt", "If-None-Match", tag).StatusCode)
	require.Equal(t, 503, s.do(http.MethodPost, "/?sums", strings.NewReader("a\n")).StatusCode)
	require.Contains(t, s.get("/?status").body, `"state": "degraded"`)
	require.Equal(t, 503, (<-done).StatusCode, "those who wait are told")
	require.NoError(t, os.RemoveAll(root))
	require.NoError(t, os.Rename(root+".old", root))
	require.Eventually(t, func() bool { return s.get("/?txt").StatusCode == 200 }, 5*time.Second, 10*time.Millisecond)
}

// A file system that is taken away from under the root, or put over it: an error,
// never the empty directory that is there now.
func TestUnmountedRoot(t *testing.T) {
	root := t.TempDir()
	mount := func() {
		require.NoError(t, syscall.Mount("tmpfs", root, "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	}
	mount()
	s := publishWatched(t, serve.Config{Root: root}, map[string]string{"a": "1", "d/x": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	mount() // something else over it
	for _, target := range []string{"/?txt", "/d/?txt", "/?json", "/?txt&since=0", "/?sums", "/?recent=1"} {
		require.Eventually(t, func() bool { return s.get(target).StatusCode == 503 }, 5*time.Second, 10*time.Millisecond, target)
		require.Equal(t, 503, s.get(target, "If-None-Match", tag).StatusCode, target)
	}
	require.NoError(t, syscall.Unmount(root, 0))
	require.Eventually(t, func() bool { return s.get("/?txt").StatusCode == 200 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH))
	require.Eventually(t, func() bool { return s.get("/?txt").StatusCode == 503 }, 5*time.Second, 10*time.Millisecond)
}

// Bearer tokens, also as Basic password; a shared cache must not keep what one
// client was allowed.
func TestTokens(t *testing.T) {
	s := publishWatched(t, serve.Config{Tokens: []string{"first", "second"}}, map[string]string{"a": "1"})
	for _, target := range []string{"/", "/?txt", "/a", "/none", "/?status"} {
		a := s.get(target)
		require.Equal(t, 401, a.StatusCode, target)
		require.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
		for _, wrong := range []string{"Bearer ", "Bearer third", "Bearer firs", "Basic !!", "Digest first", "bearer"} {
			require.Equal(t, 401, s.get(target, "Authorization", wrong).StatusCode, wrong)
		}
	}
	for _, right := range []string{"Bearer first", "bearer second", "Basic eDpmaXJzdA==", "Basic OnNlY29uZA=="} {
		a := s.get("/?txt", "Authorization", right)
		require.Equal(t, 200, a.StatusCode, right)
		require.Equal(t, "private, no-cache", a.Header.Get("Cache-Control"))
		require.Equal(t, "private, no-cache", s.get("/a", "Authorization", right).Header.Get("Cache-Control"))
	}
	// A list of tokens that are all empty lets nobody in.
	shut := publishWatched(t, serve.Config{Tokens: []string{""}}, nil)
	require.Equal(t, 401, shut.get("/", "Authorization", "Bearer ").StatusCode)
}

// No control byte of a name reaches a log line.
func TestLogIsQuoted(t *testing.T) {
	var log bytes.Buffer
	cfg := serve.Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Stats: &serve.Stats{}}
	s := publishWatched(t, cfg, nil)
	name := "evil\n\x1b[31m"
	require.NoError(t, os.WriteFile(s.path(name), make([]byte, 32<<20), 0o644))
	response, _ := s.slowly("/evil%0A%1b[31m")
	require.NoError(t, os.Truncate(s.path(name), 10))
	_, err := io.Copy(io.Discard, response.Body)
	require.Error(t, err)
	require.Eventually(t, func() bool { return s.cfg.Stats.Aborted.Load() == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, s.h.Close())
	require.NotContains(t, log.String(), "\x1b")
	require.NotContains(t, log.String(), "evil\n")
}

// New refuses what cannot be published, with the remedy.
func TestNewRefuses(t *testing.T) {
	_, err := serve.New(serve.Config{Root: t.TempDir() + "/none"})
	require.ErrorContains(t, err, "name a directory")
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = serve.New(serve.Config{Root: file})
	require.Error(t, err)
	_, err = serve.New(serve.Config{Root: t.TempDir(), Exclude: []string{"[a"}})
	require.ErrorContains(t, err, "bad glob")
	root := t.TempDir()
	require.NoError(t, os.Mkdir(root+"/.tidemark", 0o755))
	require.NoError(t, os.WriteFile(root+"/.tidemark/tree", []byte(`{"format":99}`), 0o644))
	_, err = serve.New(serve.Config{Root: root})
	require.ErrorIs(t, err, state.ErrNewerFormat)
}

// A directory on another file system is neither listed nor opened, counted and
// named once, unless --cross-mounts. /dev has /dev/shm.
func TestOtherFileSystems(t *testing.T) {
	stats := &serve.Stats{}
	s := &site{T: t, root: "/dev", cfg: serve.Config{Root: "/dev", Stats: stats}}
	s.start()
	for range 2 {
		l := s.list("/")
		require.NotContains(t, names(l), "shm")
		require.Positive(t, l.Excluded)
		require.Equal(t, 404, s.get("/shm/").StatusCode)
		require.Equal(t, 404, s.get("/shm").StatusCode)
	}
	count := stats.OtherFileSystems.Load()
	require.Positive(t, count)
	require.Equal(t, 404, s.get("/null").StatusCode, "no device is opened")
	s.cfg.CrossMounts = true
	s.start()
	l := s.list("/")
	require.Contains(t, names(l), "shm")
	require.Zero(t, l.Excluded)
	require.Equal(t, 200, s.get("/shm/").StatusCode)
	require.Equal(t, count, stats.OtherFileSystems.Load())
}

// What is mounted over a file is on another file system too, be it a file of this
// one or a device: neither listed nor opened in any way, and counted.
func TestMountedFiles(t *testing.T) {
	files := map[string]string{"d/a": "1", "d/b": "2", "d/c": "3", "l": "-> d/b", "other": "from elsewhere"}
	s := publishWatched(t, serve.Config{Tar: true, Stats: &serve.Stats{}}, files)
	for name, from := range map[string]string{"d/b": s.path("other"), "d/c": "/dev/null"} {
		require.NoError(t, syscall.Mount(from, s.path(name), "", syscall.MS_BIND, ""))
		t.Cleanup(func() { _ = syscall.Unmount(s.path(name), syscall.MNT_DETACH) })
	}
	s.start() // the cache has no mounts
	l := s.list("/d/")
	require.Equal(t, []string{"a"}, names(l))
	require.Equal(t, []int64{2, 2, 2}, []int64{l.Hidden, l.Excluded, l.Covered})
	for _, target := range []string{"/d/b", "/d/c", "/l", "/d/b/"} {
		require.Equal(t, 404, s.get(target).StatusCode, target)
	}
	for _, query := range []string{"json", "html", "sums", "recent=9", "since=0", "tar"} {
		require.NotRegexp(t, `d/[bc]\b|"[bc]"|(?m)  [bc]$`, s.get("/d/?"+query).body, query)
	}
	for _, query := range []string{"sums", "tar"} {
		require.NotContains(t, s.do(http.MethodPost, "/d/?"+query, strings.NewReader("b\nc\n")).body, "b")
	}
	require.EqualValues(t, 2, s.cfg.Stats.OtherFileSystems.Load())
	s.cfg.CrossMounts = true
	s.alterStatus(func(status *state.Status) { status.CrossMounts = new(bool); *status.CrossMounts = true })
	s.start()
	l = s.list("/d/")
	require.Equal(t, []string{"a", "b"}, names(l), "a device is no file")
	require.Equal(t, []int64{0, 0, 0}, []int64{l.Hidden, l.Excluded, l.Covered})
	require.Equal(t, "from elsewhere", s.get("/d/b").body)
	require.Equal(t, 404, s.get("/d/c").StatusCode)
}

// A token that was revoked was good until serve was started anew, and for as long as
// a request of it was held; without any token left everybody was let in.
func TestRevokedTokens(t *testing.T) {
	var tokens atomic.Pointer[[]string]
	accept := func(all ...string) { tokens.Store(&all) }
	accept("first", "second")
	s := publishWatched(t, serve.Config{TokensNow: func() []string { return *tokens.Load() }, Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	status := func(token string) int { return s.get("/?txt", "Authorization", "Bearer "+token).StatusCode }
	require.Equal(t, []int{200, 200, 401}, []int{status("first"), status("second"), status("")})
	tag := s.get("/?txt", "Authorization", "Bearer first").Header.Get("ETag")
	done := make(chan answer, 1)
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", tag, "Authorization", "Bearer first") }()
	s.waiting(1)
	accept("second", "third")
	s.write("b", "2")
	s.stamp("", machine.Now())
	a := <-done
	require.Equal(t, 401, a.StatusCode, "nothing is told to one who was revoked while waiting")
	require.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
	require.Equal(t, []int{401, 200, 200}, []int{status("first"), status("second"), status("third")})
	accept()
	require.Equal(t, []int{401, 401, 401}, []int{status("first"), status("second"), status("")})
	require.Equal(t, 401, s.get("/a").StatusCode)
	accept("third")
	require.Equal(t, "private, no-cache", s.get("/a", "Authorization", "Bearer third").Header.Get("Cache-Control"))
}
