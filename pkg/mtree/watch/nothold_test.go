package watch_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/watch/internal/health"
)

// A file system that takes a time, reports success and shows another one made the
// watcher's own write look like somebody else's: 85 batches a second, for ever, in
// state watched. Such a time counts as refused.
func TestTimeThatDoesNotHold(t *testing.T) {
	for how, set := range map[string]func(d *disk.Dir) error{
		"ignored": func(d *disk.Dir) error { return unix.Fchmod(d.FD(), 0o755) }, // an event, and a new ctime
		"another": func(d *disk.Dir) error { return d.SetTime(machine.Now()) },
	} {
		t.Run(how, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				root := newTree(t, "a/lossy/f = one", "b/")
				audits := make(chan struct{})
				var lossy atomic.Bool
				lossy.Store(true)
				r := start(t, watch.Config{Root: root, Backend: backend, Audit: audits}.SetTime(func(d *disk.Dir, at mtree.Stamp) error {
					if lossy.Load() && strings.HasSuffix(d.Path(), "/lossy") {
						return set(d)
					}
					return d.SetTime(at)
				}))
				seen := logStamps(t, root)
				write(t, filepath.Join(root, "a/lossy/f"), "two")
				r.sync()
				require.Eventually(t, func() bool { return r.status().Status.Stamps == 1 }, deadline, time.Millisecond, "named in .tidemark/stamps")
				seen.fresh("what is above it", "a")
				require.Contains(t, r.log.String(), health.ErrNotHeld.Error())
				require.Eventually(t, func() bool { // once its own events are taken
					batches := r.config.Stats.Batches.Load()
					for range 10 {
						r.sync()
					}
					return batches == r.config.Stats.Batches.Load()
				}, deadline, time.Millisecond)

				seen.note()
				write(t, filepath.Join(root, "a/lossy/f"), "three")
				r.sync()
				seen.fresh("each time", "a")
				audits <- struct{}{}
				r.sync()
				lossy.Store(false)
				audits <- struct{}{}
				require.Eventually(t, func() bool { return r.status().Status.Stamps == 0 }, deadline, time.Millisecond)
				r.sync()
				seen.fresh("it holds again", "a/lossy")
			})
		})
	}
}
