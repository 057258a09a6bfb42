package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// When a FIFO, a link or a directory had the name of a file of .tidemark, opening it
// hung, or failed without a word on what to do. And what was written to a file with two
// names was written to a file of somebody else.
func TestInTheWay(t *testing.T) {
	path := t.TempDir()
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	other := filepath.Join(path, "other")
	require.NoError(t, os.WriteFile(other, []byte("other"), 0o600))
	put := map[string]func(string) error{
		"fifo":   func(at string) error { return unix.Mkfifo(at, 0o644) },
		"link":   func(at string) error { return os.Symlink(other, at) },
		"second": func(at string) error { return os.Link(other, at) },
		"empty":  func(at string) error { return os.Mkdir(at, 0o755) },
	}
	for kind, put := range put {
		at := filepath.Join(path, mtree.MarkerName, "file")
		for _, name := range []string{"file", ".file.new"} {
			require.NoError(t, put(filepath.Join(path, mtree.MarkerName, name)))
		}
		_, _, err := m.OpenFile("file")
		require.Equal(t, kind != "second", err != nil)
		require.NoError(t, WriteFile(m.dir, "file", []byte("ours")), kind)
		require.Equal(t, []string{"", "ours", "other"}, []string{kindOf(t, at), read(t, at), read(t, other)}, kind)

		require.NoError(t, os.Remove(at))
		require.NoError(t, put(at))
		fd, err := openOwn(m.dir, "file", true)
		require.NoError(t, err, kind)
		require.NoError(t, unix.Ftruncate(fd, 0))
		require.NoError(t, unix.Close(fd))
		require.Equal(t, []string{"", "", "other"}, []string{kindOf(t, at), read(t, at), read(t, other)}, kind)
		require.NoError(t, m.Remove("file"))
		require.NoError(t, m.Remove("file"))
	}

	full := filepath.Join(path, mtree.MarkerName, "full")
	require.NoError(t, os.MkdirAll(filepath.Join(full, "mine"), 0o755))
	_, err = openOwn(m.dir, "full", true)
	require.ErrorIs(t, err, ErrInTheWay)
	require.ErrorIs(t, WriteFile(m.dir, "full", nil), ErrInTheWay)
	require.ErrorIs(t, m.Remove("full"), ErrInTheWay)
	require.ErrorIs(t, m.Vacate("full"), ErrInTheWay)
	require.DirExists(t, filepath.Join(full, "mine"))
	_, err = makeOwn(m.dir, "tree", 0o700)
	require.NoError(t, err)
	require.NoError(t, WriteFile(m.dir, "plain", []byte("text")))
	_, err = makeOwn(m.dir, "plain", 0o700)
	require.ErrorIs(t, err, ErrInTheWay)
}

func kindOf(t *testing.T, path string) string {
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return strings.Trim(info.Mode().Type().String(), "-")
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
