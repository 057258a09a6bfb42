package watch_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch"
)

// Proven writes are in .tidemark before the tree is idle, so that a restart after a kill
// stamps nothing.
func TestConfirmedBeforeIdle(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/b/", "a/c/") // files would be stamped again: their ctimes are young
		r := start(t, watch.Config{Root: root, Backend: backend})
		must(t, os.Mkdir(filepath.Join(root, "a/b/new"), 0o755))
		r.sync()
		before := stamps(t, root)
		for path := range before {
			if path == "a/c" {
				continue // not written
			}
			require.Eventually(t, func() bool { return noted(t, root, path) }, deadline, time.Millisecond, "%s: without another change", path)
		}
		r.kill()
		start(t, watch.Config{Root: root, Backend: backend})
		require.Equal(t, before, stamps(t, root))
	})
}

// noted reports whether .tidemark has a record of what the directory shows.
func noted(t *testing.T, root, path string) bool {
	dir, err := disk.OpenRoot(filepath.Join(root, path))
	must(t, err)
	defer dir.Close()
	shows := selfOf(t, dir)
	for _, name := range []string{"left.0", "left.1"} {
		text, err := os.ReadFile(filepath.Join(root, ".tidemark", name))
		must(t, err)
		for ; len(text) >= 40; text = text[40:] {
			ctime := mtree.Unix(int64(binary.LittleEndian.Uint64(text[20:])), int64(binary.LittleEndian.Uint32(text[28:])))
			if binary.LittleEndian.Uint64(text) == shows.Node.Ino && ctime == shows.CTime {
				return true
			}
		}
	}
	return false
}
