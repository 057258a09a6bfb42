package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/work"
)

// A large file that may not replace the directory that has its name is not fetched first: it came
// with each pass.
func TestALargeFileThatMayReplaceNothing(t *testing.T) {
	for name, size := range map[string]int{"large": work.LeastTakenOver, "small": 10} {
		simulate(t, name, "x/f y", func(t *testing.T, r *rig) {
			var last Progress
			r.options.Progress = func(p Progress) { last = p }
			r.env.NoDelete = true
			r.remove("x/f")
			require.True(t, r.Tree.Remove("x") && r.Tree.Write("x") && r.Tree.Enlarge("x", size))
			r.Tree.Publish()
			for range 2 {
				p := r.pass()
				require.EqualValues(t, 1, p.Failed)
				require.Equal(t, size < work.LeastTakenOver, last.Bytes > 0)
				require.Contains(t, r.paths(), "x/f")
			}
			r.env.NoDelete = false
			r.complete()
			require.Equal(t, "x y", r.paths())
		})
	}
}

// With --durability file, and where a directory has its name until the end of the pass, a file is flushed
// by itself before anything says that it is there.
func TestFilesThatAreFlushedThemselves(t *testing.T) {
	for _, each := range []bool{false, true} {
		simulate(t, "", "a/f b/g", func(t *testing.T, r *rig) {
			r.env.SyncEach = each
			r.write("a/new")
			r.Calls = nil
			r.complete()
			require.Equal(t, map[bool]int{false: 2, true: 3}[each], r.Made("fsync"), "the file and its directory, and before that the file alone")
			r.remove("b/g")
			require.True(t, r.Tree.Remove("b") && r.Tree.Write("b"))
			r.Tree.Publish()
			r.Calls = nil
			r.complete()
			require.Equal(t, map[bool]int{false: 4, true: 5}[each], r.Made("fsync"), "what stands aside, too")
			require.Equal(t, "a/ a/f a/new b", r.paths())
		})
	}
}
