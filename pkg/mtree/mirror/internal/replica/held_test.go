package replica

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// The file of a list, line by line. A reason stands once above all that are held for it,
// also if there is none.
func TestHeldFile(t *testing.T) {
	at := mtree.Unix(5, 0)
	l := HeldList{Entries: []Deletion{
		{Path: "b", Why: "two", Kind: mtree.Dir, MTime: at, Entries: 3},
		{Path: "a", Kind: mtree.Other, MTime: at, Entries: 1},
		{Path: "c", Why: "two", Kind: mtree.Symlink, MTime: at, Entries: 1},
		{Path: "d", Kind: mtree.File, MTime: at, Entries: 2},
	}}
	require.EqualValues(t, 7, l.Total())
	require.Equal(t, "two; ", l.Why())
	l.Sort()
	require.Equal(t, "; two", l.Why())
	require.Equal(t, "#held \n1 o 5.000000000 a\n2 f 5.000000000 d\n#held two\n3 d 5.000000000 b\n1 l 5.000000000 c\n", string(l.Format()))
	require.Equal(t, "#held two\n3 d 5.000000000 b\n", string((&HeldList{Entries: l.Entries[2:3]}).Format()))

	_, r := simulated(t)
	none, err := r.Held()
	require.NoError(t, err)
	require.Nil(t, none.At("a"))
	require.Nil(t, (*HeldList)(nil).At("a"))
	require.NoError(t, r.SetHeld(&l))
	read, err := r.Held()
	require.NoError(t, err)
	require.Equal(t, l.Entries, read.Entries)
	require.Equal(t, &read.Entries[2], read.At("b"))
	require.Nil(t, read.At("x"))
	require.NoError(t, r.SetHeld(&HeldList{}))
	_, err = r.marker.Dir().Stat(heldName)
	require.Error(t, err, "there is none")
}

// What cannot be read, or is not a list to its end, holds nothing.
func TestHeldFileThatIsDamaged(t *testing.T) {
	k, r := simulated(t)
	for _, bad := range []string{
		"1 f 1.5 a", "#held x", "1 f 1.5 a\n1 f 1.5 b", "1  1.5 a\n", "1 ff 1.5 a\n", "1 d 1.5 \n", "1 f 1.5 a b\n", "1 f 1.5 a\n\n",
		strings.Repeat("x", 100_000) + "\n",
	} {
		require.NoError(t, state.WriteFile(r.marker.Dir(), heldName, []byte(bad)))
		l, err := r.Held()
		require.Error(t, err, "%.100q", bad)
		require.ErrorContains(t, err, heldName)
		require.Empty(t, l.Entries)
	}
	require.NoError(t, state.WriteFile(r.marker.Dir(), heldName, []byte("1 f 1.5 a\n")))
	for _, call := range []string{"open held", "read held"} {
		k.Refuse(call, unix.EIO, 1)
		_, err := r.Held()
		require.ErrorIs(t, err, unix.EIO, call)
	}
	long := "1 f 1.5 " + strings.Repeat("%20", 4000) // as no path is, and yet within the bounds of a line
	require.NoError(t, state.WriteFile(r.marker.Dir(), heldName, []byte(long+"\n")))
	_, err := r.Held()
	require.NotErrorIs(t, err, bufio.ErrTooLong)
}
