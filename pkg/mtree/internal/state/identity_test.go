package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/state"
)

// A place stays the same when something below changes. It is another one when something
// is mounted.
func TestPlace(t *testing.T) {
	one, two := disktest.OpenRoot(t, t.TempDir()), disktest.OpenRoot(t, t.TempDir())
	a, err := state.PlaceOf(one)
	require.NoError(t, err)
	disktest.Write(t, one.Path()+"/f", "x")
	b, err := state.PlaceOf(one)
	require.NoError(t, err)
	require.Equal(t, a, b)
	b, err = state.PlaceOf(two)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	proc := disktest.OpenRoot(t, "/proc/self/fd")
	where, err := state.PlaceOf(proc)
	require.NoError(t, err)
	require.Contains(t, where, "proc ", "type and source of its mount, for want of anything that lasts")
}
