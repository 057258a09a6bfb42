package serve_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// A 403 of a proxy completed a directory of the copy like one of serve: the two could
// not be told apart. Every answer of serve says that it is one, over both ways.
func TestEveryAnswerTellsTheVersion(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1", "d/x": "2", ".dot": "3"})
	date := s.get("/a").Header.Get("Last-Modified")
	for _, test := range []struct {
		status         int
		method, target string
		headers        []string
	}{
		{200, "GET", "/?txt", nil},
		{200, "GET", "/a", nil},
		{200, "HEAD", "/?html", nil},
		{200, "GET", "/?status", nil},
		{200, "POST", "/?sums", nil},
		{206, "GET", "/a", []string{"Range", "bytes=0-0"}},
		{301, "GET", "/d", nil},
		{304, "GET", "/a", []string{"If-Modified-Since", date}},
		{304, "GET", "/?txt", []string{"If-None-Match", "*"}},
		{400, "GET", "/?txt&since=x", nil},
		{403, "GET", "/?tar", nil},
		{404, "GET", "/none", nil},
		{404, "GET", "/none/?txt", nil},
		{404, "GET", "/.dot", nil},
		{404, "POST", "/none/?sums", nil},
		{405, "PUT", "/a", nil},
		{405, "POST", "/a", nil},
		{410, "GET", "/?txt&since=9999999999", nil},
		{412, "GET", "/a", []string{"If-Match", `"x"`}},
		{416, "GET", "/a", []string{"Range", "bytes=9-"}},
	} {
		a := s.do(test.method, test.target, nil, test.headers...)
		require.Equal(t, test.status, a.StatusCode, "%s %s", test.method, test.target)
		require.Equal(t, []string{"1"}, a.Header["Tidemark-Version"], "%s %s", test.method, test.target)
	}
	s.cfg.Tokens = []string{"secret"}
	s.start()
	require.Equal(t, "1", s.get("/").Header.Get("Tidemark-Version"), "401")
	require.NoError(t, os.Rename(s.root, s.root+".away"))
	t.Cleanup(func() { _ = os.Rename(s.root+".away", s.root) })
	a := s.get("/a", "Authorization", "Bearer secret")
	for start := time.Now(); a.StatusCode != 503 && time.Since(start) < 5*time.Second; {
		a = s.get("/a", "Authorization", "Bearer secret")
	}
	require.Equal(t, 503, a.StatusCode)
	require.Equal(t, "1", a.Header.Get("Tidemark-Version"))
}

// A mirror completes what is above a 403, for giving the right back moves the stamp there.
// It does not move it if the right to enter a directory is missing further up: what is in
// there stayed away for ever.
func TestDeniedFurtherUp(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	s := publishWatched(t, serve.Config{}, map[string]string{"a/b/c/f": "1", "a/g": "1"})
	require.NoError(t, os.Chmod(s.path("a"), 0o600))
	t.Cleanup(func() { _ = os.Chmod(s.path("a"), 0o755) })
	for target, status := range map[string]int{
		"/a/": 403, "/a/g": 403, "/a/b/": 403,
		"/a/b/c/": 503, "/a/b/c/f": 503, "/a/b/f": 503, "/a/b/c/?sums": 503, "/a/b/c/?txt&since=0": 503,
	} {
		a := s.get(target)
		require.Equal(t, status, a.StatusCode, target)
		require.Equal(t, "1", a.Header.Get("Tidemark-Version"), target)
	}
	require.NoError(t, os.Chmod(s.path("a"), 0o755))
	require.NoError(t, os.Chmod(s.path("a/b/c"), 0))
	t.Cleanup(func() { _ = os.Chmod(s.path("a/b/c"), 0o755) })
	for _, target := range []string{"/a/b/c/", "/a/b/c/f"} {
		require.Equal(t, 403, s.get(target).StatusCode, target)
	}
}

// serve --cross-mounts over a watch without it: what is on another file system came
// once and never again, for nothing that changes there moves a stamp. It is
// listed, so that nothing is deleted, and answered 403; so is a mount in a copy, and
// one below a watch that does not tell how far it hears.
func TestBeyondWhatWatchHears(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root, to mount")
	}
	var log bytes.Buffer
	s := publish(t, serve.Config{CrossMounts: true, Tar: true, Log: slog.New(slog.NewTextHandler(&log, nil))}, map[string]string{"d/f": "1", "mnt/": "", "b": "over", "l": "-> mnt/x"})
	require.NoError(t, syscall.Mount("none", s.path("mnt"), "tmpfs", 0, ""))
	t.Cleanup(func() { _ = syscall.Unmount(s.path("mnt"), syscall.MNT_DETACH) })
	require.NoError(t, syscall.Mount(s.path("d/f"), s.path("b"), "", syscall.MS_BIND, ""))
	t.Cleanup(func() { _ = syscall.Unmount(s.path("b"), syscall.MNT_DETACH) })
	s.write("mnt/x", "2")
	s.write("mnt/sub/y", "3")
	beyond := []string{"/mnt/", "/mnt/?txt&since=0", "/mnt/?sums", "/mnt/?tar", "/mnt/?txt&wait=0.01", "/mnt", "/mnt/x", "/mnt/sub/", "/mnt/sub/y", "/mnt/none", "/b"}
	answers := func(want int, why string) (tag string) {
		t.Helper()
		s.start()
		require.Equal(t, []string{"b", "d", "l", "mnt"}, names(s.list("/")), why)
		for _, target := range beyond {
			a := s.get(target)
			switch {
			case want == 200 && (target == "/mnt" || target == "/mnt/none" || strings.Contains(target, "since")):
			default:
				require.Equal(t, want, a.StatusCode, "%s: %s", why, target)
				require.Equal(t, "1", a.Header.Get("Tidemark-Version"))
			}
		}
		for _, query := range []string{"sums", "tar"} {
			a := s.do(http.MethodPost, "/?"+query, strings.NewReader("mnt/x\nd/f\n"))
			require.Equal(t, want == 200, strings.Contains(a.body, "mnt/x"), "%s: %s", why, query)
			require.Contains(t, a.body, "d/f")
		}
		return s.get("/?txt").Header.Get("ETag")
	}
	answers(200, "no stamp prunes: everything is compared")
	release := watched(t, s.root, wire.Watched)
	nobodyTold := answers(403, "a watch that does not tell")
	hears := func(far bool) { s.alterStatus(func(status *state.Status) { status.CrossMounts = &far }) }
	hears(false)
	require.Equal(t, nobodyTold, answers(403, "a watch that stays on its file system"))
	hears(true)
	heard := answers(200, "a watch that hears")
	require.NotEqual(t, heard, nobodyTold, "mirrors compare everything once")
	hears(false)
	release()
	require.Equal(t, nobodyTold, answers(403, "audited"))
	s.alterTree(func(tree *state.Tree) { tree.Role = state.Copy })
	s.alterStatus(func(status *state.Status) { status.State = wire.Mirrored })
	answers(403, "a copy")
	require.NoError(t, s.h.Close())
	require.Contains(t, log.String(), "run watch with --cross-mounts")
}
