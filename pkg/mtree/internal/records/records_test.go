package records_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
)

// A LogReader reads what another program appended to the log, and reads nothing again
// if nothing was appended.
func TestLogReader(t *testing.T) {
	root := disktest.OpenRoot(t, t.TempDir())
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	var reader records.LogReader
	none, err := reader.Read(root, "")
	require.NoError(t, err)
	require.Nil(t, none)
	log, err := records.OpenLog(m)
	require.NoError(t, err)
	defer log.Close()
	want := records.Record{Stamp: mtree.Unix(5, 7), Now: mtree.Unix(8, 9)}
	require.NoError(t, log.Set("a", want))
	first, err := reader.Read(root, "")
	require.NoError(t, err)
	got, ok := first.Get("a")
	require.True(t, ok)
	require.Equal(t, want, got)
	again, err := reader.Read(root, "")
	require.NoError(t, err)
	require.Same(t, first, again)
	require.NoError(t, log.Set("b", want))
	later, err := reader.Read(root, "")
	require.NoError(t, err)
	_, ok = later.Get("b")
	require.True(t, ok)
}
