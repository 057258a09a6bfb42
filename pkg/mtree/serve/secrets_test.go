package serve_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
)

// No inode, uid, host path or control byte in any answer or log line.
func TestNothingOfTheHost(t *testing.T) {
	const uid = 54321
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	root := filepath.Join(t.TempDir(), "where-the-tree-is")
	require.NoError(t, os.Mkdir(root, 0o755))
	s := publishWatched(t, serve.Config{Root: root, Tar: true, Log: logger}, map[string]string{
		"d/a": "1", "d/\x1b[31m\a\x9b": "2", "l": "-> d/a", "gone": "-> nowhere", "out": "-> ../x", "e/": "", "bad": "x",
	})
	secrets := []string{root}
	require.NoError(t, filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if os.Getuid() == 0 {
			require.NoError(t, os.Lchown(path, uid, uid))
		}
		secrets = append(secrets, fmt.Sprintf(`\b%d\b`, info.Sys().(*syscall.Stat_t).Ino))
		return err
	}))
	secrets = append(secrets, fmt.Sprintf(`\b%d\b`, uid), fmt.Sprintf(`\b0*%o\b`, uid))
	secret := regexp.MustCompile(strings.Join(secrets, "|"))
	control := regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f]|\u009b")
	for _, path := range []string{"/", "/d/", "/d", "/d/a", "/d/%1b[31m%07%9b", "/l", "/gone", "/out", "/none%1b", "/e/", "/.tidemark/tree", "/d/a/x"} {
		for _, query := range []string{"", "?txt", "?json", "?html", "?sums", "?tar", "?status", "?recent=9", "?recent=9&html", "?since=0", "?since=x%1b", "?wait=0.001"} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, "BREW"} {
				a := s.do(method, path+query, nil, "If-Match", "\"\x80\"", "Range", "bytes=9999-")
				require.NotRegexp(t, secret, fmt.Sprint(a.Header)+a.body, "%s %s%s", method, path, query)
				require.NotRegexp(t, control, fmt.Sprint(a.Header))
				if query != "?tar" && query != "?sums" { // these give names as they are, for tar(1) and sha256sum(1)
					require.NotRegexp(t, control, a.body, "%s %s%s", method, path, query)
				}
			}
		}
	}
	// What makes it log: a file that is cut, a state that cannot be read.
	require.NoError(t, os.WriteFile(s.path("bad"), make([]byte, 32<<20), 0o644))
	response, _ := s.slowly("/bad")
	require.NoError(t, os.Truncate(s.path("bad"), 10))
	_, err := bytes.NewBuffer(nil).ReadFrom(response.Body)
	require.Error(t, err)
	require.NoError(t, os.WriteFile(s.path(".tidemark/tree"), []byte("{\x1b"), 0o644))
	require.Contains(t, s.get("/?status").body, "unwatched")
	require.NoError(t, s.h.Close())
	require.Contains(t, log.String(), `\"/.tidemark/tree: `, "told from the root on")
	require.NotRegexp(t, secret, log.String())
	require.NotRegexp(t, control, log.String())
}

// A state that cannot be read is logged once while that lasts, not again and
// again for requests.
func TestBrokenStateIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	s := publishWatched(t, serve.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, map[string]string{"a": "1"})
	good, err := os.ReadFile(s.path(".tidemark/tree"))
	require.NoError(t, err)
	for _, content := range []string{"{", string(good), "{"} {
		require.NoError(t, os.WriteFile(s.path(".tidemark/tree"), []byte(content), 0o644))
		for range 3 {
			require.Equal(t, 200, s.get("/?status").StatusCode) // reads the state each time
		}
	}
	require.NoError(t, s.h.Close())
	require.Equal(t, 2, strings.Count(log.String(), "cannot read the state of the tree"), log.String())
}
