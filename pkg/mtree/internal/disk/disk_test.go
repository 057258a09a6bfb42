package disk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
)

func TestNothingFollowsASymlinkBelowTheRoot(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	disktest.Write(t, outside+"/secret", "s")
	require.NoError(t, os.Symlink(outside, top+"/dir"))
	require.NoError(t, os.Symlink(outside+"/secret", top+"/file"))
	d := disktest.OpenRoot(t, top)

	_, err := d.OpenDir("dir")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = d.OpenDirPath("dir", false)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = d.OpenDirPath("../"+filepath.Base(outside), false)
	require.ErrorIs(t, err, syscall.EXDEV)
	_, _, err = d.OpenFile("file")
	require.ErrorIs(t, err, syscall.ELOOP)
	for _, bad := range []string{"", ".", "..", "a/b", "/etc"} {
		_, err := d.OpenDir(bad)
		require.ErrorIs(t, err, mtree.ErrName, "%q", bad)
		_, err = d.Stat(bad)
		require.ErrorIs(t, err, mtree.ErrName, "%q", bad)
	}

	before, err := os.Stat(outside + "/secret")
	require.NoError(t, err)
	require.NoError(t, d.SetEntryTime("file", mtree.Unix(5, 5)))
	after, err := os.Stat(outside + "/secret")
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime(), "the link's own time was set")
	info, err := d.Stat("file")
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(5, 5), info.MTime)
}

func TestSpecialFilesAreNeverOpened(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, syscall.Mkfifo(top+"/fifo", 0o644))
	d := disktest.OpenRoot(t, top)
	_, _, err := d.OpenFile("fifo") // a blocking open would hang here
	require.ErrorIs(t, err, disk.ErrNotRegular)
}

func TestTimesBeyondInt64Nanoseconds(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	for _, want := range []mtree.Stamp{
		mtree.Unix(-2147483647, 1), mtree.Unix(-1, 999_999_999), mtree.Unix(0, 0),
		mtree.Unix(1707019506, 123456789), mtree.Unix(9_300_000_000, 7), // the year 2264, past int64 nanoseconds
	} {
		require.NoError(t, d.SetTime(want))
		info, err := d.Self()
		require.NoError(t, err)
		require.Equal(t, want, info.MTime)
	}
}

func TestErrorsNameThePath(t *testing.T) {
	_, err := disk.OpenRoot(t.TempDir() + "/missing")
	var pathError *fs.PathError
	require.ErrorAs(t, err, &pathError)
	require.True(t, disk.IsGone(err))
	require.False(t, disk.IsDenied(err) || disk.IsFull(err))
}
