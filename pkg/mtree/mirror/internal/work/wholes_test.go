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
	w.Add("d", now)
	w.Add("d", later)
	require.Equal(t, later, w.At("d"))
	for i := range mostWholes {
		w.Add(strconv.Itoa(i), now)
	}
	require.Equal(t, mtree.Stamp{}, w.At("d"))
	require.LessOrEqual(t, len(w.at), mostWholes)
}
