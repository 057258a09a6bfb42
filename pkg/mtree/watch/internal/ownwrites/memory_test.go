package ownwrites_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// A change of mode or time by somebody else is not taken for our own write.
func TestOwnWriteIsToldFromOthers(t *testing.T) {
	path, dir, _ := openDir(t)
	l := ownwrites.New(nil, nil, at(0))
	require.NoError(t, dir.SetTime(at(1_000_000_000)))
	info, err := dir.Self()
	require.NoError(t, err)
	l.Put(info, ownwrites.Proven, true)
	require.True(t, l.Untouched(dir, info))
	for _, change := range []func() error{
		func() error { return os.Chtimes(path, time.Time{}, time.Unix(981_173_106, 789)) },
		func() error { return os.Chmod(path, 0o700) },
	} {
		require.NoError(t, change())
		now, err := dir.Self()
		require.NoError(t, err)
		require.False(t, l.Untouched(dir, now))
		l.Put(now, ownwrites.Proven, true)
		require.True(t, l.Untouched(dir, now))
	}
	other := info
	other.Mode = 0o711
	l.Put(info, ownwrites.Proven, true)
	require.False(t, l.Shows(other), "the same tick on a kernel with coarse times")
}

// What an audit has judged is no proof before that audit is done: the directory was stamped,
// but perhaps not yet what is below it and arrived with it.
func TestProofWaitsForTheAudit(t *testing.T) {
	_, dir, shows := openDir(t)
	for _, heard := range []bool{true, false} {
		l := ownwrites.New(nil, nil, at(0))
		l.Put(shows, ownwrites.Judged, heard)
		require.True(t, l.Untouched(dir, shows))
		require.False(t, l.Stayed(dir, shows))
		l.EndAudit(true)
		require.True(t, l.Stayed(dir, shows))
		require.Equal(t, 1, l.Unsaved())

		l = ownwrites.New(nil, nil, at(0))
		l.Put(shows, ownwrites.Judged, heard)
		l.EndAudit(false)
		l.EndAudit(true)
		require.True(t, l.Untouched(dir, shows))
		require.False(t, l.Stayed(dir, shows), "another audit's")
		require.Zero(t, l.Unsaved())
	}
	l := ownwrites.New(nil, nil, at(0))
	l.Put(shows, ownwrites.Unproven, true)
	l.BeginTake()
	l.EndTake(false)
	require.True(t, l.Untouched(dir, shows))
	require.False(t, l.Stayed(dir, shows), "the Take heard only a part")
}

// openDir makes a directory and returns its path, the directory opened, and what it
// shows.
func openDir(t *testing.T) (string, *disk.Dir, disk.Info) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(path, 0o755))
	dir, err := disk.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	info, err := dir.Self()
	require.NoError(t, err)
	return path, dir, info
}

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }
