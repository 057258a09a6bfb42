//go:build filesystems

// A file system that fails under the server: xfs on a loop device, shut down by
// Debian's xfs_io; and subvolumes of btrfs. They need root.
package serve_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
)

// onXFS returns the root of a new file system and what makes it fail.
func onXFS(t *testing.T) (root string, fail func()) {
	t.Helper()
	base := t.TempDir()
	image, root := filepath.Join(base, "image"), filepath.Join(base, "mount")
	require.NoError(t, os.Mkdir(root, 0o755))
	require.NoError(t, os.WriteFile(image, nil, 0o644))
	require.NoError(t, os.Truncate(image, 512<<20)) // sparse; xfs wants 300 MB at least
	for _, command := range [][]string{{"mkfs.xfs", "-q", image}, {"mount", "-o", "loop", image, root}} {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.NoError(t, err, "%q: %s", command, out)
	}
	t.Cleanup(func() {
		if exec.Command("umount", root).Run() != nil {
			require.NoError(t, exec.Command("umount", "-l", root).Run())
		}
	})
	return root, func() {
		out, err := exec.Command("xfs_io", "-x", "-c", "shutdown", root).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// An I/O error is a 500 or a cut connection, in every format: never a short or
// empty 200, never a 304 from before. The log names the path and no control
// byte, the answer neither.
func TestIOErrors(t *testing.T) {
	root, fail := onXFS(t)
	var log bytes.Buffer
	s := publishWatched(t, serve.Config{
		Root: root, CacheBytes: -1, Tar: true, Log: slog.New(slog.NewTextHandler(&log, nil)), Stats: &serve.Stats{},
	}, map[string]string{"a": "1", "d/b": "2", "big": strings.Repeat("x", 32<<20)})
	tag := s.get("/d/?txt").Header.Get("ETag")
	file := s.get("/a").Header.Get("ETag")
	response, _ := s.slowly("/big")
	fail()
	for _, target := range []string{"/?txt", "/d/?txt", "/d/?json", "/d/?html", "/d/?since=0", "/?recent=5", "/?sums", "/?tar", "/a", "/d/b", "/big"} {
		for _, header := range [][]string{nil, {"If-None-Match", tag}, {"If-None-Match", file}, {"If-Modified-Since", "Sat, 03 Feb 2024 04:05:06 GMT"}} {
			a := s.get(target, header...)
			require.Equal(t, 500, a.StatusCode, "%s %q: %s", target, header, a.body)
			require.Equal(t, "500 reading from disk failed\n", a.body)
			require.Empty(t, a.Header.Get("ETag")+a.Header.Get("Last-Modified"))
		}
		require.Equal(t, 500, s.do(http.MethodHead, target, nil).StatusCode, target)
	}
	_, err := io.Copy(io.Discard, response.Body)
	require.Error(t, err, "what was under way is cut")
	require.Contains(t, log.String(), "input/output error")
	require.NotContains(t, log.String(), root)
}

// A subvolume of btrfs in the tree is another file system, though nothing is mounted. Without
// --cross-mounts it was left out of listings, and answered to all who knew its name. With it, over a
// watch without, it was answered where 403 is promised: what changed there never reached a copy.
func TestSubvolumesAreBeyond(t *testing.T) {
	root := testfs.Image(t, "mkfs.btrfs", "-q")
	require.NoError(t, os.Mkdir(root+"/a", 0o755))
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", root+"/a/sub")
	s := publishWatched(t, serve.Config{Root: root, Tar: true}, map[string]string{
		"a/f": "1", "a/sub/f": "2", "a/sub/d/g": "3", "file": "-> a/sub/f", "dir": "-> a/sub",
	})
	beyond := []string{
		"/a/sub", "/a/sub/", "/a/sub/?txt", "/a/sub/?json", "/a/sub/?html", "/a/sub/?sums", "/a/sub/?tar", "/a/sub/?txt&wait=0.01",
		"/a/sub/?txt&since=0", "/a/sub/?txt&since=0&part=1", "/a/sub/f", "/a/sub/d", "/a/sub/d/", "/a/sub/d/g",
	}
	answers := func(want int, listed ...string) {
		t.Helper()
		s.start()
		require.Equal(t, listed, names(s.list("/a/")))
		for _, target := range beyond {
			require.Equal(t, want, s.get(target).StatusCode, target)
		}
		for _, target := range []string{"/file", "/dir", "/dir/f"} {
			require.Equal(t, 404, s.get(target).StatusCode, target)
		}
		for _, query := range []string{"sums", "tar"} {
			a := s.do(http.MethodPost, "/a/?"+query, strings.NewReader("sub/f\nf\n"))
			require.Equal(t, 200, a.StatusCode)
			require.NotContains(t, a.body, "sub/f", query)
			require.Equal(t, want, s.do(http.MethodPost, "/a/sub/?"+query, strings.NewReader("f\n")).StatusCode, query)
		}
	}
	answers(404, "f")
	require.NotContains(t, s.get("/a/?tar").body, "sub")
	s.cfg.CrossMounts = true
	answers(403, "f", "sub")
	s.alterStatus(func(status *state.Status) { status.CrossMounts = new(bool); *status.CrossMounts = true })
	s.start()
	for _, target := range []string{"/a/sub/f", "/file", "/a/sub/?txt"} {
		require.Equal(t, 200, s.get(target).StatusCode, target)
	}
}
