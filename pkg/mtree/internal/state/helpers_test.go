package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
)

// marked makes a tree with a tree file.
func marked(t *testing.T, top string, tree state.Tree) (*disk.Dir, *state.Marker, state.Tree) {
	d := disktest.OpenRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree.ID = state.NewTreeID()
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	return d, m, tree
}
