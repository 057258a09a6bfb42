package dirwatch

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// With OwnTimes only a directory's own times are heard, with AnyChange also its
// entries. Next ends when it is told to, and after Close.
func TestHearing(t *testing.T) {
	top := t.TempDir()
	d, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer d.Close()
	w, err := New()
	require.NoError(t, err)
	id, err := w.Add(d, OwnTimes)
	require.NoError(t, err)
	next := func() []Event {
		t.Helper()
		require.NoError(t, w.WakeAt(time.Now().Add(10*time.Second)))
		events, err := w.Next(nil)
		require.NoError(t, err)
		return events
	}
	require.NoError(t, os.WriteFile(filepath.Join(top, "f"), nil, 0o644))
	require.NoError(t, d.SetTime(mtree.Unix(1000, 5)))
	require.Equal(t, []Event{{ID: id, Self: true}}, next(), "the file is not heard")

	again, err := w.Add(d, AnyChange)
	require.NoError(t, err)
	require.Equal(t, id, again, "the same directory")
	require.NoError(t, os.Remove(filepath.Join(top, "f")))
	require.Equal(t, []Event{{ID: id}}, next())

	require.NoError(t, w.WakeAt(time.Now()))
	_, err = w.Next(nil)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	w.Remove(id)
	require.NoError(t, w.Close())
	_, err = w.Next(nil)
	require.ErrorIs(t, err, fs.ErrClosed)
}
