package disk

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func rootAt(t *testing.T, path string) *Dir {
	d, err := OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func openStaging(d *Dir, name string) (*Staging, error) { return openStagingIn(d, name, "") }

func openStagingIn(d *Dir, name, stay string) (*Staging, error) {
	dir, err := d.OpenDir(name)
	if IsGone(err) {
		dir, err = d.MakeDir(name, 0o700)
	}
	if err != nil {
		return nil, err
	}
	return OpenStaging(dir, stay)
}

// A file gets its name when it is complete, whether the name is free or that of a file
// or a symlink, and whether or not it was believed to be free. A directory stays.
func TestTempFilePlace(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("outside"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), []byte("old"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(path, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(path, "dir"), 0o755))
	for _, named := range []bool{false, true} {
		a.named.Store(named) // as on a file system without O_TMPFILE
		for _, fresh := range []bool{true, false} {
			for _, name := range []string{"new", "file", "link"} {
				temp, err := a.Create(d, "f", fresh, 0o640)
				require.NoError(t, err)
				_, err = temp.Write([]byte("text"))
				require.NoError(t, err)
				require.NoError(t, temp.SetTime(mtree.Unix(1, 5)))
				require.NoError(t, temp.Place(d, name))
				text, err := os.ReadFile(filepath.Join(path, name))
				require.NoError(t, err)
				require.Equal(t, "text", string(text))
			}
			temp, err := a.Create(d, "f", fresh, 0o600)
			require.NoError(t, err)
			require.Error(t, temp.Place(d, "dir"))
			temp, err = a.Create(d, "f", fresh, 0o600)
			require.NoError(t, err)
			require.Error(t, temp.Place(d, "../file"))
			require.NoError(t, os.Remove(filepath.Join(path, "new")))
		}
	}
	left, err := a.Dir().Names()
	require.NoError(t, err)
	require.Empty(t, left)
	text, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "outside", string(text))
}

// What an earlier run left is removed, except for partial files that are worth
// continuing.
func TestStagingSweeps(t *testing.T) {
	d := rootAt(t, t.TempDir())
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	for _, key := range []string{"young", "old"} {
		part, _, err := a.Continue(key, true)
		require.NoError(t, err)
		_, err = part.Write([]byte("half"))
		require.NoError(t, err)
		if key == "old" {
			require.NoError(t, part.SetTime(mtree.FromTime(time.Now()).Add(-8*24*time.Hour)))
		}
		require.NoError(t, part.Keep())
	}
	require.NoError(t, os.MkdirAll(filepath.Join(a.Dir().Path(), "12/deep"), 0o700))
	require.NoError(t, os.Chmod(filepath.Join(a.Dir().Path(), "12"), 0o500))
	require.NoError(t, a.Close())
	a, err = openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	names, err := a.Dir().Names()
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.EqualValues(t, 4, a.PartSize("young"))
	require.Zero(t, a.PartSize("old"))
}

// After a power cut on ext4 with data=writeback, a partial file had its size and other
// bytes. The file that was continued from it got a stamp above it.
func TestAPartOfAnotherStayIsNotContinued(t *testing.T) {
	d := rootAt(t, t.TempDir())
	for _, run := range []struct {
		stay string
		kept int64
	}{{"first", 0}, {"first", 4}, {"second", 0}, {"first", 0}} {
		a, err := openStagingIn(d, "aside", run.stay)
		require.NoError(t, err)
		require.Equal(t, run.kept, a.PartSize("key"), run.stay)
		part, size, err := a.Continue("key", true)
		require.NoError(t, err)
		require.Equal(t, run.kept, size)
		_, err = part.Write([]byte("half")[size:])
		require.NoError(t, err)
		require.NoError(t, part.Keep())
		names, err := a.Dir().Names()
		require.NoError(t, err)
		require.Len(t, names, 1, "what cannot be continued takes no room")
		require.NoError(t, a.Close())
	}
}

func TestExchangeSwapsTypes(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, os.MkdirAll(filepath.Join(path, "dir/sub"), 0o755))
	name, err := a.Symlink("target")
	require.NoError(t, err)
	require.NoError(t, a.Exchange(name, d, "dir"))
	target, err := d.Readlink("dir")
	require.NoError(t, err)
	require.Equal(t, "target", target)
	info, err := a.Dir().Stat(name)
	require.NoError(t, err)
	require.Equal(t, mtree.Dir, info.Kind)
}

// Trees are counted and removed without following links or entering mounts.
func TestTreesEndAtLinksAndMounts(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), nil, 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(path, "a/b/c"), 0o755))
	require.NoError(t, os.Symlink(outside, filepath.Join(path, "a/link")))
	require.NoError(t, os.WriteFile(filepath.Join(path, "a/b/f"), nil, 0o644))
	require.NoError(t, os.Chmod(filepath.Join(path, "a/b"), 0o500))
	count, err := d.CountPruned("a", Prune{})
	require.NoError(t, err)
	require.EqualValues(t, 5, count.Entries)
	require.NoError(t, d.RemoveTree("a"))
	require.NoError(t, d.RemoveTree("a"), "already gone")
	_, err = d.Stat("a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.FileExists(t, filepath.Join(outside, "f"))
	_, err = rootAt(t, "/").CountPruned("proc", Prune{})
	require.ErrorIs(t, err, errMount)
}

// What is written after AddHole stands behind the hole, in a file that is new and in one that is continued.
func TestAddHole(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	fresh, err := a.Create(d, "f", true, 0o644)
	require.NoError(t, err)
	part, size, err := a.Continue("key", true)
	require.NoError(t, err)
	require.Zero(t, size)
	_, err = part.Write([]byte("a"))
	require.NoError(t, err)
	require.NoError(t, part.Keep())
	part, size, err = a.Continue("key", true)
	require.NoError(t, err)
	require.Equal(t, int64(1), size)
	_, err = fresh.Write([]byte("a"))
	require.NoError(t, err)
	for i, f := range []*TempFile{fresh, part} {
		require.NoError(t, f.AddHole(3))
		_, err = f.Write([]byte("b"))
		require.NoError(t, err)
		require.NoError(t, f.AddHole(2))
		require.NoError(t, f.Place(d, "f"))
		text, err := os.ReadFile(filepath.Join(path, "f"))
		require.NoError(t, err)
		require.Equal(t, "a\x00\x00\x00b\x00\x00", string(text), i)
	}
}
