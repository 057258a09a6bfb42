package watch_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// rm -rf .tidemark ended watch if it came while the watcher was putting it back: "no such
// file" was an error, exit 6. It was the same with --state-dir.
func TestRemovedWhilePuttingBack(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, stateDir := range []string{"", filepath.Join(newTree(t), "state")} {
			root := newTree(t, "a/b/f = one", "a/c/")
			marker := stateDir
			if marker == "" {
				marker = filepath.Join(root, mtree.MarkerName)
			}
			r := start(t, watch.Config{Root: root, Backend: backend, StateDir: stateDir})
			tree := r.status().Tree
			stop, writer := make(chan struct{}), sync.WaitGroup{}
			writer.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = os.WriteFile(filepath.Join(root, "a/b/f"), []byte(time.Now().String()), 0o644)
					}
				}
			})
			for removed, end := 0, time.Now().Add(deadline); removed < 50 && time.Now().Before(end); {
				if _, err := os.Stat(marker); err == nil {
					_ = os.RemoveAll(marker) // it may have been filled meanwhile
					removed++
				}
			}
			close(stop)
			writer.Wait()
			r.await(wire.Watched)
			seen := logStamps(t, root)
			write(t, filepath.Join(root, "a/c/g"), "at last")
			r.sync()
			seen.fresh("after it was put back", "a/c")
			require.Equal(t, tree.ID, r.status().Tree.ID)
			require.Equal(t, tree.Epoch, r.status().Tree.Epoch)
			r.stop()
		}
	})
}

// Watch starts, too, if .tidemark is removed meanwhile.
func TestRemovedWhileStarting(t *testing.T) {
	root := newTree(t, "a/f = one")
	marker := filepath.Join(root, mtree.MarkerName)
	for range 50 {
		stop, remover := make(chan struct{}), sync.WaitGroup{}
		remover.Go(func() {
			for removed := 0; removed < 3; {
				if _, err := os.Stat(filepath.Join(marker, "lock")); err == nil && os.RemoveAll(marker) == nil {
					removed++
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		r := begin(t, watch.Config{Root: root, Backend: "inotify"})
		close(stop)
		remover.Wait()
		r.stop()
	}
}
