//go:build filesystems

package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

// TestFloodWhileStopped: 200,000 files made while watch is stopped are more than
// the kernel's queue holds by default. That is logged, shown as auditing, and
// everything is published when the audit is done.
func TestFloodWhileStopped(t *testing.T) {
	t.Parallel()
	const files, dirs = 200_000, 100
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/b/f = one")
		for i := range dirs {
			must(t, os.MkdirAll(filepath.Join(root, "d", fmt.Sprint(i)), 0o755))
		}
		r := &running{t: t, root: root, log: new(logged)}
		p := startProcess(t, root, backend, r.log)
		p.ready(r)
		seen := logStamps(t, root)
		must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
		for i := range files {
			f, err := os.OpenFile(filepath.Join(root, "d", fmt.Sprint(i%dirs), fmt.Sprint(i)), os.O_CREATE|os.O_WRONLY, 0o644)
			must(t, err)
			must(t, f.Close())
		}
		must(t, os.MkdirAll(filepath.Join(root, "new/deep"), 0o755))
		must(t, p.cmd.Process.Signal(syscall.SIGCONT))
		require.Eventually(t, func() bool { return r.status().State == wire.Auditing }, deadline, 100*time.Microsecond, r.log)
		p.ready(r)
		require.Contains(t, r.log.String(), "overflowed (fs."+backend+".max_queued_events is ")
		for dir := range seen.seen {
			if filepath.Dir(dir) == "d" {
				seen.fresh("flood", dir)
			}
		}
		seen.note()
		write(t, filepath.Join(root, "new/deep/f"), "heard again")
		r.sync()
		seen.fresh("after the flood", "new/deep")
	})
}
