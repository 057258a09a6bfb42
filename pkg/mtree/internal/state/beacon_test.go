package state

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
)

// A beacon announces its number to others, writes nothing, and ends when it is closed.
func TestBeacon(t *testing.T) {
	d := openRoot(t, t.TempDir())
	m, err := CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	announced := func() int64 {
		t.Helper()
		n, err := m.Announced()
		require.NoError(t, err)
		return n
	}
	require.Zero(t, announced(), "no file")
	b, err := m.CreateBeacon()
	require.NoError(t, err)
	require.Zero(t, announced())
	before, err := os.Stat(filepath.Join(d.Path(), ".tidemark/confirmed"))
	require.NoError(t, err)
	for _, n := range []int64{1_795_000_000, 1_795_000_045, 1_795_000_045, 1_794_000_000, 1 << 40} {
		require.NoError(t, b.Announce(n))
		require.Equal(t, n, announced())
	}
	after, err := os.Stat(filepath.Join(d.Path(), ".tidemark/confirmed"))
	require.NoError(t, err)
	require.Equal(t, before.Sys(), after.Sys())
	require.NoError(t, b.Close())
	require.Zero(t, announced())
	var none *Beacon
	require.NoError(t, none.Announce(5))
	require.NoError(t, none.Close())
}

func openRoot(t *testing.T, path string) *disk.Dir {
	d, err := disk.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}
