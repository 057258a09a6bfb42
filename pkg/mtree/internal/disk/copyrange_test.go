package disk

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// stagingAt opens the directory at path, and a Staging in it.
func stagingAt(t *testing.T, path string) (*Dir, *Staging) {
	t.Helper()
	root, err := OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	s, err := openStaging(root, "staging")
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return root, s
}

// A file is put together of another and of bytes; a hole stays a hole.
func TestCopyFrom(t *testing.T) {
	path := t.TempDir()
	root, staging := stagingAt(t, path)
	const hole = 4 << 20
	text := append(bytes.Repeat([]byte("0123456789abcdef"), 20_000), make([]byte, hole)...)
	text = append(text, "the end"...)
	f, err := os.Create(path + "/old")
	require.NoError(t, err)
	_, err = f.Write(text[:320_000])
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("the end"), int64(len(text)-7))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	old, _, err := root.OpenFilePath("old", false)
	require.NoError(t, err)
	defer old.Close()
	for name, make := range map[string]func() (*TempFile, error){
		"a new file":  func() (*TempFile, error) { return staging.Create(root, "new", false, 0o644) },
		"a free name": func() (*TempFile, error) { return staging.Create(root, "new", true, 0o644) },
		"a part": func() (*TempFile, error) {
			temp, size, err := staging.Continue("key", false)
			require.Zero(t, size)
			return temp, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer os.Remove(path + "/new")
			temp, err := make()
			require.NoError(t, err)
			defer temp.Discard()
			_, err = temp.Write([]byte("before"))
			require.NoError(t, err)
			require.NoError(t, temp.CopyFrom(old, 5, int64(len(text)-5)))
			_, err = temp.Write([]byte("after"))
			require.NoError(t, err)
			require.NoError(t, temp.CopyFrom(old, 320_000, hole), "a hole at the end")
			info, err := temp.Stat()
			require.NoError(t, err)
			require.NoError(t, temp.Place(root, "new"))
			got, err := os.ReadFile(path + "/new")
			require.NoError(t, err)
			want := append(append(append([]byte("before"), text[5:]...), "after"...), text[320_000:320_000+hole]...)
			require.True(t, bytes.Equal(want, got))
			require.Equal(t, int64(len(want)), info.Size)
			var is syscall.Stat_t
			require.NoError(t, syscall.Stat(path+"/new", &is))
			require.Less(t, is.Blocks*512, int64(hole), "the holes take no room")
		})
	}
	temp, err := staging.Create(root, "new", true, 0o644)
	require.NoError(t, err)
	defer temp.Discard()
	require.ErrorIs(t, temp.CopyFrom(old, int64(len(text)-3), 4), io.ErrUnexpectedEOF)
	require.ErrorIs(t, temp.CopyFrom(old, int64(len(text)), 1), io.ErrUnexpectedEOF)
}

// A file of another file system is copied by hand.
func TestCopyFromAnotherFileSystem(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "copyfrom")
	require.NoError(t, err)
	defer os.RemoveAll(shm)
	text := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	require.NoError(t, os.WriteFile(shm+"/old", text, 0o644))
	other, _ := stagingAt(t, shm)
	old, _, err := other.OpenFilePath("old", false)
	require.NoError(t, err)
	defer old.Close()
	path := t.TempDir()
	root, staging := stagingAt(t, path)
	temp, err := staging.Create(root, "new", true, 0o644)
	require.NoError(t, err)
	defer temp.Discard()
	require.NoError(t, temp.CopyFrom(old, 1, int64(len(text)-1)))
	require.NoError(t, temp.Place(root, "new"))
	got, err := os.ReadFile(path + "/new")
	require.NoError(t, err)
	require.True(t, bytes.Equal(text[1:], got))
}
