package work

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// It remembers the last time, and not more directories than it may.
func TestWholes(t *testing.T) {
	var w Wholes
	require.Equal(t, mtree.Stamp{}, w.At("d"))
	w.Note("d", now, true)
	w.Note("d", later, true)
	require.Equal(t, later, w.At("d"))
	w.Note("d", later, false)
	require.Equal(t, mtree.Stamp{}, w.At("d"), "the record says so")
	w.Note("d", later, true)
	w.Forget("e")
	require.Equal(t, later, w.At("d"))
	for i := range mostWholes {
		w.Note(strconv.Itoa(i), now, true)
	}
	require.Equal(t, mtree.Stamp{}, w.At("d"))
	require.LessOrEqual(t, len(w.at), mostWholes)
}
