package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch"
)

// Each directory that refused its time made the next one in the batch wait until .tidemark/stamps
// was written, though nothing above it was stamped yet: a thousand of them wrote a growing file
// a thousand times.
func TestRefusalsOfABatchAreToldTogether(t *testing.T) {
	const many = 300
	root := newTree(t)
	for i := range many {
		must(t, os.MkdirAll(filepath.Join(root, "a", fmt.Sprint(i)), 0o755))
	}
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	for i := range many {
		write(t, filepath.Join(root, "a", fmt.Sprint(i), "f"), "new")
	}
	versions, last, shown := 0, uint64(0), false
	look := func() {
		if info, err := os.Stat(filepath.Join(root, ".tidemark/stamps")); err == nil && info.Sys().(*syscall.Stat_t).Ino != last {
			last = info.Sys().(*syscall.Stat_t).Ino
			versions++
		}
	}
	must(t, watch.Once(t.Context(), watch.Config{Root: root}.SetTime(func(d *disk.Dir, stamp mtree.Stamp) error {
		look()
		if filepath.Base(filepath.Dir(d.Path())) == "a" {
			return unix.EPERM
		}
		if filepath.Base(d.Path()) == "a" {
			require.Len(t, exceptions(t, root).Stamps, many)
			shown = true
		}
		return d.SetTime(stamp)
	})))
	look()
	require.True(t, shown)
	require.Less(t, versions, 10)
}
