package serve_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve"
)

// original is the logic of the mirror client of 2008: Last-Modified against the
// local mtime in whole seconds, then down wherever a line differs.
type original struct {
	*testing.T
	requests int
}

// line is its expression, which knows names of letters, digits and underscores.
var line = regexp.MustCompile(`([\d.]+?) +([\w/]+)`)

func (o *original) mirror(src, dst string) {
	o.Helper()
	o.requests++
	r, err := http.NewRequest(http.MethodGet, src, nil)
	require.NoError(o, err)
	r.Header.Set("User-Agent", "Python-urllib/1.17")
	response, err := http.DefaultClient.Do(r)
	require.NoError(o, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(o, err)
	mtime, err := time.Parse("Mon, 02 Jan 2006 15:04:05 MST", response.Header.Get("Last-Modified"))
	require.NoError(o, err)
	if o.has(dst, mtime.Unix()) {
		return
	}
	if !strings.HasSuffix(src, "/") {
		require.NoError(o, os.WriteFile(dst, content, 0o644))
	} else {
		require.NoError(o, os.MkdirAll(dst, 0o755))
		for _, match := range line.FindAllStringSubmatch(string(content), -1) {
			mt, err := strconv.ParseFloat(match[1], 64)
			require.NoError(o, err)
			if path := dst + match[2]; !o.has(path, int64(mt)) {
				o.mirror(src+match[2], path)
			}
		}
	}
	require.NoError(o, os.Chtimes(dst, mtime, mtime))
}

func (o *original) has(path string, mtime int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.ModTime().Unix() == mtime
}

// The mirror client of 2008 still works, with one request where nothing changed
// and depth + 1 where one file did.
func TestOriginalClient(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1", "d/e/f": "2", "d/g": "3", "h/i": "4"})
	o, dst := &original{T: t}, t.TempDir()+"/"
	o.mirror(s.url+"/", dst)
	require.Equal(t, 8, o.requests)
	o.requests = 0
	o.mirror(s.url+"/", dst)
	require.Equal(t, 1, o.requests)
	require.NoError(t, os.WriteFile(s.path("d/e/f"), []byte("changed"), 0o644))
	later := mtree.FromTime(past.Add(time.Minute))
	for _, name := range []string{"d/e/f", "d/e", "d", ""} {
		s.stamp(name, later)
	}
	o.requests = 0
	o.mirror(s.url+"/", dst)
	require.Equal(t, 4, o.requests)
	require.NoError(t, filepath.Walk(s.root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || strings.Contains(path, mtree.MarkerName) {
			return err
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		rel, err := filepath.Rel(s.root, path)
		require.NoError(t, err)
		got, err := os.ReadFile(dst + rel)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), rel)
		return nil
	}))
}
