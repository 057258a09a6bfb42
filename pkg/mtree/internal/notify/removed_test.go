package notify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Directories that were looked up stay open. Removed ones stayed so, too: their inodes were not freed, and a serve
// that waited for news of such a directory, or another program, did not hear that it was gone.
func TestRemovedDirectoriesAreLetGo(t *testing.T) {
	dir := t.TempDir()
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	s, err := openFanotify(root, make(chan struct{}, 1))
	require.NoError(t, err)
	defer s.Close()
	held := func(suffix string) (n int) {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		for _, fd := range all {
			if at, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(at, dir+"/gone") && strings.HasSuffix(at, suffix) {
				n++
			}
		}
		return n
	}
	for i := range 20 {
		path := filepath.Join(dir, fmt.Sprintf("gone%d/below", i))
		require.NoError(t, os.MkdirAll(path, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(path, "f"), nil, 0o644))
	}
	require.Eventually(t, func() bool { s.Take(); return held("") == 40 }, 10*time.Second, time.Millisecond)
	for i := range 20 {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("gone%d", i))))
	}
	require.Eventually(t, func() bool { s.Take(); return held("") == 0 }, 10*time.Second, time.Millisecond)
}
