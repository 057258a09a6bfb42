package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// A release allows exactly the deletions in its list.
func TestHeldListIsExact(t *testing.T) {
	one := Deletion{Path: "a/b \n%", Why: "a reason", Kind: mtree.File, MTime: mtree.Unix(1, 5), Entries: 1}
	two := Deletion{Path: "dir", Why: WhyTree, Kind: mtree.Dir, MTime: mtree.Unix(-2, 5), Entries: 70}
	l := HeldList{Entries: []Deletion{one, two}}
	l.index()
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, state.WriteFile(m.Dir(), heldName, l.Format()))
	read, err := readHeld(m, heldName)
	require.NoError(t, err)
	require.Equal(t, l, read)
	require.True(t, read.Has(&one))
	require.True(t, read.Has(&two))
	for _, other := range []Deletion{
		{Path: "b \n%", Kind: one.Kind, MTime: one.MTime, Entries: 1},
		{Path: one.Path, Kind: mtree.Symlink, MTime: one.MTime, Entries: 1},
		{Path: one.Path, Kind: one.Kind, MTime: one.MTime.Add(1), Entries: 1},
		{Path: one.Path, Kind: one.Kind, MTime: one.MTime, Entries: 2},
		{Path: one.Path, Kind: one.Kind, MTime: one.MTime, Entries: 1, Why: WhyTree}, // a tree since then
	} {
		require.False(t, read.Has(&other))
	}
	for _, bad := range []string{"x", "1 f 1.5", "1 q 1.5 a", "x f 1.5 a", "1 f x a", "1 f 1.5 ../a", "1 f 1.5 a%2"} {
		require.NoError(t, state.WriteFile(m.Dir(), heldName, []byte(bad+"\n")))
		_, err := readHeld(m, heldName)
		require.Error(t, err, "%q", bad)
	}
}
