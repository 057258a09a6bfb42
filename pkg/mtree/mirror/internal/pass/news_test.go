package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// All that a visit finds may change, also what it leaves undone; and all that is deleted. The names of
// directories end in a slash.
func TestWhatMayChange(t *testing.T) {
	changes := func(kind mtree.Kind, name string) []mtree.Change {
		return []mtree.Change{{Want: &mtree.Entry{Kind: kind, Name: name}}}
	}
	v := &work.VisitResult{Below: changes(mtree.Dir, "below")}
	v.Plan.MakeDirs, v.Plan.MakeLinks = changes(mtree.Dir, "made"), changes(mtree.Symlink, "link")
	v.Plan.Fetch, v.Plan.Check, v.Plan.SetModes = changes(mtree.File, "f"), changes(mtree.File, "g"), changes(mtree.File, "mode")
	v.Plan.Extra = []*mtree.Entry{{Kind: mtree.File, Name: "extra"}}
	n := &node{}
	n.news.addVisit(v)
	new(pass).addDeletions(n, []replica.Deletion{{Path: "a/old", Kind: mtree.Dir}})
	require.Equal(t, []string{"made/", "link", "f", "g", "mode", "below/", "extra", "old/"}, n.news.names)
	require.False(t, n.news.isEmpty())
}

// Too many names are dropped, and with them all that follow.
func TestTooManyNames(t *testing.T) {
	var w news
	require.True(t, w.isEmpty())
	w.add(make([]string, 4*journal.MaxNames)...)
	require.Len(t, w.names, 4*journal.MaxNames)
	require.False(t, w.many)
	for range 2 {
		w.add("f")
		require.Equal(t, news{many: true}, w)
		require.False(t, w.isEmpty())
	}
}
