package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// While the source's directory cannot be read, its deletions stay held, and count with new
// ones for the limit. All above is looked at again.
func TestAHoldWhileNothingIsSeen(t *testing.T) {
	hot := func(path string, l *source.Dir) {
		for i := range l.Entries {
			l.Entries[i].Hot = path == "a/b"
		}
	}
	for name, c := range map[string]struct {
		trouble func(r *rig)
		failed  int64
	}{
		"not listed":      {trouble: func(r *rig) { r.lose(errAway, "list /a/b") }, failed: 1},
		"denied":          {trouble: func(r *rig) { r.Tree.Deny("a/b") }},
		"hot":             {trouble: func(r *rig) { r.show = func(path string, l *source.Dir) { l.Hot = path == "a/b" } }},
		"an entry is hot": {trouble: func(r *rig) { r.show = hot }},
		"above":           {trouble: func(r *rig) { r.lose(errAway, "list /a") }, failed: 1},
	} {
		simulate(t, name, "a/b/f a/b/old1 a/b/old2 c/old3 d/f e/f", func(t *testing.T, r *rig) {
			r.limit("1")
			r.remove("a/b/old1 a/b/old2")
			const why = "2 of 11 entries would go, --max-delete is 1"
			r.requireHeld("a/b/old1 a/b/old2", why)
			c.trouble(r)
			r.write("a/b/new")
			for range 2 {
				p := r.requireHeld("a/b/old1 a/b/old2", why)
				require.Equal(t, int64(2), p.Held)
				require.Equal(t, c.failed, p.Failed)
			}
			r.remove("c/old3")
			p := r.pass()
			require.Equal(t, int64(3), p.Held, "one more would be allowed alone")
			require.Contains(t, r.paths(), "c/old3")

			r.Tree.Allow("a/b")
			r.Fault, r.show = nil, nil
			r.limit("3")
			r.complete()
			require.NotContains(t, r.paths(), "old")
		})
	}
}

// What was held elsewhere ends with its cause, though another directory cannot be read; and a
// deletion with a reason of its own does not count with others.
func TestAHoldEndsWhileAnotherDirectoryIsNotSeen(t *testing.T) {
	simulate(t, "", "a/b/f b/f b/old1 b/old2 c/old3", func(t *testing.T, r *rig) {
		r.limit("1")
		r.tree("a/b/tree")
		r.remove("b/old1 b/old2")
		r.write("a/b/g")
		p := r.pass()
		require.Equal(t, int64(3), p.Held)
		r.lose(errAway, "list /a/b")
		r.write("a/b/h b/old1 b/old2")
		r.remove("c/old3")
		p = r.requireHeld("a/b/tree", replica.WhyTree)
		require.Equal(t, int64(1), p.Deleted)
	})
}
