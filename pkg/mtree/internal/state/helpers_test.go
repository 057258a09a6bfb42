package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

func openRoot(t *testing.T, path string) *disk.Dir {
	t.Helper()
	d, err := disk.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// marked makes a tree with a tree file.
func marked(t *testing.T, top string, tree state.Tree) (*disk.Dir, *state.Marker, state.Tree) {
	d := openRoot(t, top)
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
