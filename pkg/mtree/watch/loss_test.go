package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// A queue that overflows is a loss: logged, shown as auditing, and after the
// audit everything is published: W3.
func TestOverflow(t *testing.T) {
	for backend, queue := range map[string]int{"inotify": 200, "fanotify": 20} {
		t.Run(backend, func(t *testing.T) {
			root := newTree(t, "a/b/f = x", "c/d/")
			states := make(chan string, 1000)
			var r *running
			testfs.WithSysctl(t, "fs."+backend+".max_queued_events", queue, func() {
				r = begin(t, watch.Config{Root: root, Backend: backend, Notify: func(text string) { states <- text }})
			})
			r.await(wire.Watched)
			seen, epoch := logStamps(t, root), r.status().Tree.Epoch
			for i := range 3000 {
				write(t, filepath.Join(root, "a/b", fmt.Sprint(i)), "x")
				if i%100 == 0 {
					must(t, os.MkdirAll(filepath.Join(root, "c/d", fmt.Sprint(i), "deep"), 0o755))
				}
			}
			require.Eventually(t, func() bool { return r.config.Stats.Losses.Load() > 0 }, deadline, time.Millisecond)
			r.sync() // waits for the audit
			seen.fresh("in the flood", "a/b")
			seen.fresh("in the flood", "c/d")
			r.await(wire.Watched)
			require.Contains(t, r.log.String(), "overflowed")
			shown := drain(states)
			require.Contains(t, shown, "watched auditing", "visibly")
			require.Equal(t, "watched", shown[len(shown)-len("watched "):len(shown)-1])

			// and all is heard again
			seen.note()
			write(t, filepath.Join(root, "c/d/2900/deep/f"), "x")
			r.sync()
			seen.fresh("after the loss", "c/d/2900/deep")
			require.Equal(t, epoch, r.status().Tree.Epoch, "a loss is no reason for readers to compare everything")
		})
	}
}

func drain(states chan string) (all string) {
	for {
		select {
		case s := <-states:
			all += s + " "
		default:
			return all
		}
	}
}

// Out of watches the state is degraded, the error names the sysctl and how many
// are needed, and frequent audits cover what is not heard.
func TestOutOfWatches(t *testing.T) {
	root := newTree(t)
	for i := range 40 {
		must(t, os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755))
	}
	r := &running{t: t, root: root, log: new(logged)}
	startWithWatches(t, r, 10)
	r.await(wire.Degraded)
	require.Contains(t, r.status().Status.Error, "user.max_inotify_watches is 10")
	require.Contains(t, r.status().Status.Error, "41 directories")
	require.Equal(t, 1, strings.Count(r.log.String(), "cannot hear all directories"))
}

// The paths of this tree have 15,000 bytes: no system call takes them.
func TestDeep(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t)
		dir, err := disk.OpenRoot(root)
		must(t, err)
		const depth = 3000
		for range depth {
			child, err := dir.MakeDir("deep", 0o755)
			must(t, err)
			must(t, dir.Close())
			dir = child
		}
		r := start(t, watch.Config{Root: root, Backend: backend})
		before, below := stampOf(t, root, "."), selfOf(t, dir).MTime
		must(t, state.WriteFile(dir, "f", []byte("x")))
		r.sync()
		require.NotEqual(t, before, stampOf(t, root, "."))
		require.NotEqual(t, below, selfOf(t, dir).MTime)
		must(t, dir.Close())
		before = stampOf(t, root, ".")
		must(t, os.Rename(filepath.Join(root, "deep"), filepath.Join(root, "moved")))
		r.sync()
		require.NotEqual(t, before, stampOf(t, root, "."))
		require.Zero(t, r.config.Stats.Losses.Load(), r.log)
	})
}

func selfOf(t *testing.T, d *disk.Dir) disk.Info {
	t.Helper()
	info, err := d.Self()
	must(t, err)
	return info
}

// Audits run one after the other, and one that is asked for while another runs is not
// forgotten.
func TestAuditsQueue(t *testing.T) {
	root := newTree(t, "a/b/f = x")
	audits := make(chan struct{})
	r := start(t, watch.Config{Root: root, Audit: audits})
	for range 5 {
		audits <- struct{}{}
	}
	require.Eventually(t, func() bool { return r.config.Stats.Audits.Load() >= 3 }, deadline, time.Millisecond)
	r.sync()
	require.NotEqual(t, mtree.Stamp{}, *r.status().Status.Audit)
}
