package disk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// A root that was moved away, and another put under its name, is noticed.
func TestStanding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(path, 0o755))
	d := openRoot(t, path)
	require.NoError(t, d.Standing(path))
	require.NoError(t, os.Rename(path, path+".away"))
	require.ErrorIs(t, d.Standing(path), fs.ErrNotExist)
	require.NoError(t, os.Mkdir(path, 0o755))
	require.ErrorIs(t, d.Standing(path), disk.ErrReplaced)
}

// What another program appends to the log is read at the next look, and nothing
// is read again without that.
func TestLogReader(t *testing.T) {
	root := openRoot(t, t.TempDir())
	m, err := disk.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	var reader disk.LogReader
	none, err := reader.Read(root, "")
	require.NoError(t, err)
	require.Nil(t, none)
	log, err := m.OpenRecordLog()
	require.NoError(t, err)
	defer log.Close()
	want := disk.Record{Stamp: mtree.Unix(5, 7), Now: mtree.Unix(8, 9)}
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
