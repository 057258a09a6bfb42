package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch"
)

// smallOps are changes of a tiny tree d/f, e/g below dir. Their errors do not count: in some
// orders something is no longer there.
var smallOps = []func(dir string){
	func(dir string) { _ = os.WriteFile(dir+"/d/f", []byte("o"), 0o644) },
	func(dir string) { _ = os.Chtimes(dir+"/d/f", day(2001), day(2001)) },
	func(dir string) { _ = os.Remove(dir + "/d/f") },
	func(dir string) { _ = os.Rename(dir+"/d/f", dir+"/e/g") },
	func(dir string) { _ = os.Rename(dir+"/e", dir+"/d/e") },
	func(dir string) { _ = os.Rename(dir+"/d", dir+"/x") },
	func(dir string) { _ = os.RemoveAll(dir + "/d") },
	func(dir string) {
		_ = unix.Renameat2(unix.AT_FDCWD, dir+"/d", unix.AT_FDCWD, dir+"/e", unix.RENAME_EXCHANGE)
	},
	func(dir string) { _ = os.Chtimes(dir+"/d", time.Time{}, day(2001)) },
}

// TestEverySequence runs all sequences of up to three changes over a tiny tree,
// each in a directory of its own, with a reader that polls after each: most
// bugs need no more (Pillai and others; Mohan and others, OSDI 2018).
func TestEverySequence(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t)
		n := len(smallOps)
		name := func(i, j, k int) string { return filepath.Join(root, fmt.Sprint(i), fmt.Sprint(j), fmt.Sprint(k)) }
		each := func(do func(dir string, ops [3]int)) {
			for i := range n {
				for j := range n {
					for k := range n {
						do(name(i, j, k), [3]int{i, j, k})
					}
				}
			}
		}
		each(func(dir string, _ [3]int) {
			must(t, os.MkdirAll(dir+"/d", 0o755))
			must(t, os.Mkdir(dir+"/e", 0o755))
			write(t, dir+"/d/f", "f")
			write(t, dir+"/e/g", "g")
		})
		w := start(t, watch.Config{Root: root, Backend: backend})
		dir, err := disk.OpenRoot(root)
		must(t, err)
		defer dir.Close()
		r := newReader(t)
		require.True(t, r.pass(dir))
		for step := range 3 {
			each(func(dir string, ops [3]int) { smallOps[ops[step]](dir) })
			if step == 1 {
				w.sync() // one step is polled in the rush, one at rest
			}
			r.pass(dir)
		}
		w.sync()
		r.catchesUp(dir, "")
		require.Zero(t, w.config.Stats.Losses.Load(), w.log)
	})
}
