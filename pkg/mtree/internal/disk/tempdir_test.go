package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A TempDir replaces an empty directory, and nothing else.
func TestTempDir(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	fill := func() *TempDir {
		temp, err := a.CreateDir(0o750)
		require.NoError(t, err)
		for _, name := range []string{"whole", "broken"} {
			f, err := a.Create(temp.Dir, name, true, 0o640)
			require.NoError(t, err)
			_, err = f.Write([]byte("text"))
			require.NoError(t, err)
			if name == "whole" {
				require.NoError(t, f.Place(temp.Dir, name))
			} else {
				f.Discard()
			}
		}
		return temp
	}
	require.NoError(t, os.MkdirAll(filepath.Join(path, "full/of"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), nil, 0o644))
	require.NoError(t, os.Symlink("full", filepath.Join(path, "link")))
	for _, name := range []string{"full", "file", "link", "../up", ""} {
		require.Error(t, fill().Place(d, name), name)
	}
	require.NoError(t, os.Mkdir(filepath.Join(path, "empty"), 0o755))
	require.NoError(t, fill().Place(d, "empty"))
	entries, err := os.ReadDir(filepath.Join(path, "empty"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	text, err := os.ReadFile(filepath.Join(path, "empty/whole"))
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
	fill().Discard()
	left, err := a.Dir().Names()
	require.NoError(t, err)
	require.Empty(t, left)
}

// A name that is taken in a TempDir is replaced as anywhere else. It may be taken by
// another spelling, where the file system ignores case.
func TestTempDirNameTwice(t *testing.T) {
	d := rootAt(t, t.TempDir())
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	temp, err := a.CreateDir(0o755)
	require.NoError(t, err)
	defer temp.Discard()
	for _, text := range []string{"one", "two"} {
		f, err := a.Create(temp.Dir, "name", true, 0o644)
		require.NoError(t, err)
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, f.Place(temp.Dir, "name"))
	}
	text, err := os.ReadFile(filepath.Join(temp.Path(), "name"))
	require.NoError(t, err)
	require.Equal(t, "two", string(text))
}

// A directory is filled as a TempDir only if its files turn out the same there.
func TestInheritsNothing(t *testing.T) {
	path := t.TempDir()
	d := rootAt(t, path)
	a, err := openStaging(d, "aside")
	require.NoError(t, err)
	defer a.Close()
	temp, err := a.CreateDir(0o755)
	require.NoError(t, err)
	defer temp.Discard()
	for name, spoil := range map[string]func(path string) error{
		"":      func(path string) error { return unix.Setxattr(path, ours, []byte("x"), 0) },
		"xattr": func(path string) error { return unix.Setxattr(path, "user.other", []byte("x"), 0) },
		"mode":  func(path string) error { return os.Chmod(path, 0o755|os.ModeSetgid) },
		"owner": func(path string) error { return os.Chown(path, 1, -1) },
	} {
		at := filepath.Join(path, "d"+name)
		require.NoError(t, os.Mkdir(at, 0o755))
		require.NoError(t, spoil(at))
		require.Equal(t, name == "", rootAt(t, at).InheritsNothing(temp, ours), name)
	}
}

// ours is an extended attribute that InheritsNothing ignores.
const ours = "user.tidemark"

// A directory with the setgid bit was never filled as a TempDir, and what was moved into
// one had the group of the process.
func TestTempFilesInherit(t *testing.T) {
	path := t.TempDir()
	root, err := OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	shared, err := root.MakeDir("shared", 0o755)
	require.NoError(t, err)
	defer shared.Close()
	require.NoError(t, os.Chown(path+"/shared", -1, 50))
	require.NoError(t, shared.Chmod(0o2755))
	a, err := openStaging(root, "aside")
	require.NoError(t, err)
	defer a.Close()

	temp, err := a.CreateDir(0o755)
	require.NoError(t, err)
	require.False(t, shared.InheritsNothing(temp, ours))
	require.NoError(t, temp.Inherit(shared))
	require.True(t, shared.InheritsNothing(temp, ours))
	require.NoError(t, temp.ChmodKept(0o700))
	info, err := temp.Self()
	require.NoError(t, err)
	require.Equal(t, uint32(0o2700), info.Mode)
	temp.Discard()

	for i, dir := range []*Dir{shared, root} {
		f, err := a.Create(dir, "f", false, 0o644)
		require.NoError(t, err)
		require.NoError(t, f.Place(dir, "f"))
		info, err := dir.Stat("f")
		require.NoError(t, err)
		require.Equal(t, []uint32{50, uint32(os.Getegid())}[i], info.GID)
	}
}
