package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/state"
)

func TestGranule(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	g, err := m.Granule()
	require.NoError(t, err)
	require.Equal(t, time.Duration(1), g)
	_, err = os.Stat(top + "/.tidemark/probe")
	require.True(t, errors.Is(err, fs.ErrNotExist), "the scratch file is gone")
}

// Times are stored as TimeRange says, at both ends and between them.
func TestTimeRange(t *testing.T) {
	d := disktest.OpenRoot(t, t.TempDir())
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	r, err := m.TimeRange()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "f"), nil, 0o644))
	for _, want := range []mtree.Stamp{
		mtree.Unix(0, 1), mtree.Unix(-1, 999_999_999), mtree.Unix(1<<40, 7), mtree.Unix(-1<<40, 7), mtree.Unix(253402300799, 0),
	} {
		require.NoError(t, d.SetEntryTime("f", want))
		info, err := d.Stat("f")
		require.NoError(t, err)
		require.Equal(t, r.Stored(want), info.MTime, "%s", want)
	}
	coarse := filetime.Range{Granule: 2 * time.Second, Min: mtree.Unix(0, 0), Max: mtree.Unix(100, 0)}
	require.Equal(t, mtree.Unix(4, 0), coarse.Stored(mtree.Unix(5, 9)))
	require.Equal(t, mtree.Unix(100, 0), coarse.Stored(mtree.Unix(101, 0)))
	require.Equal(t, mtree.Unix(0, 0), coarse.Stored(mtree.Unix(-5, 0)))
}
