package directory

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A file that shrank while it was read, each time, failed and kept all deletions
// beside it from being made; one that grows was kept as read.
func TestAFileThatShrinksIsKeptAsRead(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte(strings.Repeat("x", 1<<20)), 0o644))
	src, err := Open(Config{Path: path})
	require.NoError(t, err)
	defer src.Close()
	info, err := src.Dir().Stat("f")
	require.NoError(t, err)
	e := lister.EntryOf("f", info)
	const tries = 3 // those of source.EachFile
	left := int64(1 << 20)
	var got []int64
	var last error
	for _, f := range src.Fetch(t.Context(), []source.Wanted{{Entry: &e, Path: "f"}}) {
		require.NoError(t, f.Err)
		n, err := f.Body.Read(make([]byte, 1000))
		require.NoError(t, err)
		left /= 2
		require.NoError(t, os.Truncate(filepath.Join(path, "f"), left))
		var rest int64
		rest, last = io.Copy(io.Discard, f.Body)
		got = append(got, int64(n)+rest)
		require.Equal(t, len(got) == tries, f.Got.Hot && f.Got.Size < 0)
	}
	require.NoError(t, last)
	require.Equal(t, left, got[tries-1])
}

// Summing a file that takes hours ends when the program is to end.
func TestSummingEndsWithItsContext(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "huge"), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(path, "huge"), 8<<40))
	root, err := disk.OpenRoot(path)
	require.NoError(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = SumFiles(ctx, root, []string{"huge"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
