package replica

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
)

// What is not copied is counted by directory: a pass replaces the counts of what it
// compared, and those of what it deleted are dropped.
func TestUpdateUncopied(t *testing.T) {
	k, r := simulated(t)
	deleted := func(path string) bool { return path == "gone" }
	for _, c := range []struct {
		compared Uncopied
		whole    bool
		want     Uncopied
		writes   int
	}{
		{Uncopied{"": 2, "a b": 1, "gone": 4, "none": 0}, false, Uncopied{"": 2, "a b": 1, "gone": 4}, 1},
		{Uncopied{"": 3}, false, Uncopied{"": 3, "a b": 1}, 1},
		{Uncopied{"": 3}, false, Uncopied{"": 3, "a b": 1}, 0},
		{nil, false, Uncopied{"": 3, "a b": 1}, 0},
		{Uncopied{"a b": 0, "x": -1}, false, Uncopied{"": 3}, 1},
		{Uncopied{"c": 1}, true, Uncopied{"c": 1}, 1},
		{nil, true, Uncopied{}, 1},
	} {
		k.Made("")
		require.NoError(t, r.UpdateUncopied(c.compared, deleted, c.whole))
		require.Equal(t, c.want, r.Uncopied())
		require.Equal(t, c.writes, k.Made("rename uncopied"))
		read, err := readUncopied(r.marker)
		require.NoError(t, err)
		require.Equal(t, c.want, read)
	}
	require.EqualValues(t, 5, Uncopied{"a": 2, "b": 3}.Total())

	k.Refuse("write .uncopied.new", unix.ENOSPC, 1)
	require.NoError(t, r.UpdateUncopied(Uncopied{"a": 1}, deleted, false), "the next change writes it")
	k.Refuse("write .uncopied.new", unix.EIO, 1)
	err := r.UpdateUncopied(Uncopied{"a": 2}, deleted, false)
	require.ErrorIs(t, err, unix.EIO)
	require.True(t, IsLocal(err))
}

// There is room for so many directories, in memory and when the file is read.
func TestUncopiedIsBounded(t *testing.T) {
	_, r := simulated(t)
	many := Uncopied{}
	var text strings.Builder
	for i := range MostUncopied + 5 {
		many[fmt.Sprint(i)] = 1
		fmt.Fprintf(&text, "1 ./%d\n", i)
	}
	require.NoError(t, r.UpdateUncopied(many, nil, true))
	require.Len(t, r.Uncopied(), MostUncopied)
	require.NoError(t, state.WriteFile(r.marker.Dir(), uncopiedName, []byte(text.String())))
	read, err := readUncopied(r.marker)
	require.NoError(t, err)
	require.Len(t, read, MostUncopied)
	require.Contains(t, read, "0")
}

// Lines that make no sense are passed over; the disk's failure is none of them.
func TestUncopiedLines(t *testing.T) {
	k, r := simulated(t)
	text := "1 ./a\n0 ./b\n-1 ./c\n99999999999999999999 ./d\nx ./e\n1 ./../g\n1\n7 ./f%2\n\n2 ./h%20i\n" + strings.Repeat("x", 100_000) + "\n"
	require.NoError(t, state.WriteFile(r.marker.Dir(), uncopiedName, []byte(text)))
	read, err := readUncopied(r.marker)
	require.NoError(t, err)
	require.Equal(t, Uncopied{"a": 1, "h i": 2, "": 1}, read, "a count alone is the root's")
	for _, call := range []string{"open uncopied", "read uncopied"} {
		k.Refuse(call, unix.EIO, 1)
		_, err = readUncopied(r.marker)
		require.ErrorIs(t, err, unix.EIO)
	}
}

// The list of held deletions is written and removed, or that fails.
func TestSetHeld(t *testing.T) {
	k, r := simulated(t)
	one := HeldList{Entries: []Deletion{{Path: "a", Kind: mtree.File, Entries: 1}}}
	k.Refuse("rename held", unix.EIO, 1)
	require.ErrorIs(t, r.SetHeld(&one), unix.EIO)
	require.NoError(t, r.SetHeld(&one))
	k.Refuse("unlink held", unix.EIO, 1)
	require.ErrorIs(t, r.SetHeld(&HeldList{}), unix.EIO)
	require.NoError(t, r.SetHeld(&HeldList{}))
	require.NotContains(t, k.Shell.Names("/copy/.tidemark"), "held")
	require.NoError(t, r.SetHeld(&HeldList{}))
}

// Whether the command of --exec was told of all changes is known to the next mirror, too.
func TestUntoldChanges(t *testing.T) {
	k, r := simulated(t)
	require.False(t, r.IsUntold())
	for _, call := range []string{"open untold", "close untold"} {
		k.Refuse(call, unix.EIO, 1)
		require.ErrorIs(t, r.SetUntold(), unix.EIO, call)
	}
	for range 2 {
		require.NoError(t, r.SetUntold())
		require.True(t, r.IsUntold())
	}
	k.Refuse("unlink untold", unix.EIO, 1)
	require.ErrorIs(t, r.ClearUntold(), unix.EIO)
	require.True(t, r.IsUntold())
	require.NoError(t, r.ClearUntold())
	require.False(t, r.IsUntold())
}

// Which tree it is a copy of is written if that changed.
func TestSetTree(t *testing.T) {
	k, r := simulated(t)
	require.Nil(t, r.TreeFile())
	tree := k.claimed(r)
	k.Made("")
	require.NoError(t, r.SetTree(tree))
	require.Zero(t, k.Made("rename"))
	tree.Epoch++
	k.Refuse("rename tree", unix.EIO, 1)
	require.ErrorIs(t, r.SetTree(tree), unix.EIO)
	require.NotEqual(t, tree.Epoch, r.Tree().Epoch, "it is not on disk")
	require.NoError(t, r.SetTree(tree))
	require.Equal(t, tree.Epoch, r.Tree().Epoch)
	read, err := r.marker.ReadTree()
	require.NoError(t, err)
	require.True(t, tree.Same(read))
	require.Contains(t, string(r.TreeFile()), tree.ID)
}

// A copy is empty if it has no entry but a lost+found.
func TestIsEmpty(t *testing.T) {
	for _, c := range []struct {
		make []string
		want bool
	}{
		{nil, true},
		{[]string{"lost+found/"}, true},
		{[]string{"a"}, false},
		{[]string{"lost+found/", "a"}, false},
		{[]string{"lost+found/", "z"}, false},
	} {
		k, r := simulated(t)
		k.tree(c.make...)
		got, err := r.IsEmpty()
		require.NoError(t, err)
		require.Equal(t, c.want, got)
		k.Refuse("list copy", unix.EIO, 1)
		got, err = r.IsEmpty()
		require.ErrorIs(t, err, unix.EIO)
		require.False(t, got)
	}
}
