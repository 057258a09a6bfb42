//go:build filesystems

// A file system that fails under the server: xfs on a loop device, shut down by
// Debian's xfs_io. It needs root.
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
