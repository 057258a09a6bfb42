package mirror

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
)

// If large files are renamed, or directories with large files, no data moves. Another
// file of the same size is fetched.
func TestRenamesOfLargeFilesMoveNoData(t *testing.T) {
	a, z := strings.Repeat("a", 100_000), strings.Repeat("z", 100_000)
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		require.NoError(t, os.Rename(s.path("dir"), s.path("moved")))
		require.NoError(t, os.Rename(s.path("big"), s.path("moved/big2")))
		require.NoError(t, os.Chmod(s.path("moved/big2"), 0o600))
		testtree.Make(t, s.root, "moved/other = "+strings.Repeat("y", 100_000))
		s.publish("moved/sub/large")
		b.equal(s)
		require.Contains(t, b.out.String(), "fetched 1 files (100000 bytes), deleted 4,")
		require.EqualValues(t, 2, b.stats.Taken.Load())
		b.requireIdle()
	}, "dir/sub/large = "+a, "big = "+z, "stays = x")
}

// A file that is taken over stays under its old name, too, if that deletion is held.
func TestTakeoverFromAHeldDeletion(t *testing.T) {
	s, b := overHTTP(t, "dir/large = "+strings.Repeat("a", 100_000), "stays = x")
	b.config.MaxDelete = "0"
	b.equal(s)
	require.NoError(t, os.Rename(s.path("dir/large"), s.path("large")))
	s.publish("dir")
	b.requireHeld(1, "--max-delete")
	require.Contains(t, b.out.String(), "fetched 0 files")
	require.Len(t, b.read("large"), 100_000)
	require.Len(t, b.read("dir/large"), 100_000)
}
