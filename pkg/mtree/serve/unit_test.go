package serve

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
)

// Long poll: held at most min(wait, 45 s); what is no time asks for no wait.
func TestWaitIsAtMost45Seconds(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "0.5": time.Second / 2, "44.9": 44900 * time.Millisecond, "45": 45 * time.Second,
		"46": 45 * time.Second, "1e300": 45 * time.Second, "Inf": 45 * time.Second,
	} {
		one, err := parseTarget(httptest.NewRequest("GET", "/?txt&wait="+value, nil))
		require.NoError(t, err)
		got, ok := one.waitOf()
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{"", "-1", "NaN", "soon", "1s"} {
		one, err := parseTarget(httptest.NewRequest("GET", "/?txt&wait="+value, nil))
		require.NoError(t, err)
		_, ok := one.waitOf()
		require.False(t, ok, value)
	}
}

// Bulk and sums: each file is read whole, and left out if it is another by then,
// be it by size, by mtime or by ctime alone.
func TestFilesThatChangeAreLeftOut(t *testing.T) {
	top := t.TempDir()
	root, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer root.Close()
	for name, change := range map[string]func(path string) error{
		"grown":   func(path string) error { return os.Truncate(path, 20) },
		"dated":   func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
		"mode":    func(path string) error { return os.Chmod(path, 0o600) },
		"rewrite": func(path string) error { return os.WriteFile(path, []byte("other"), 0o644) },
	} {
		path := top + "/" + name
		require.NoError(t, os.WriteFile(path, []byte("bytes"), 0o644))
		require.NoError(t, os.Chtimes(path, time.Unix(5, 0), time.Unix(5, 0)))
		f, _, err := root.OpenFilePath(name, false)
		require.NoError(t, err)
		require.NoError(t, stillThat(f))
		require.Eventually(t, func() bool { // the ctime moves on by ticks
			require.NoError(t, change(path))
			return stillThat(f) != nil
		}, 5*time.Second, time.Millisecond)
		require.ErrorIs(t, stillThat(f), errChanged, name)
		require.NoError(t, f.Close())
	}
}

// A query: the first of a key given twice counts, only %XX is decoded, unknown
// keys are kept and nobody asks for them.
func TestQueries(t *testing.T) {
	query := parseQuery("txt&since=1.5&since=2&after=a+b%2fc%zz&x=%41=&&=y")
	require.Equal(t, map[string]string{"txt": "", "since": "1.5", "after": "a+b%2fc%zz", "x": "A=", "": ""}, query)
	require.Equal(t, strings.Repeat("%FF", 2)+"?a", plainQuery("\xff\xff?a"))
}
