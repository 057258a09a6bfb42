package mirror

import (
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
)

// adopting has a DEST with a file that equals the source's in size and time, but has
// other bytes.
func adopting(t *testing.T) (s *tree, b *bench, log *heard) {
	s, b = overHTTP(t, "a/b/f = right @1000000000", "a/g = same @1000000000", "h = x @1000000000")
	require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
	testtree.Make(t, b.config.Dest, "a/b/f = wrong @1000000000", "a/g = same @1000000000", "h = x @1000000000")
	log = &heard{}
	b.config.Log, b.config.Adopt = slog.New(slog.NewTextHandler(log, nil)), true
	return s, b, log
}

// --adopt took files of equal size and time for equal without saying so.
func TestAdoptSaysWhatItTrusts(t *testing.T) {
	_, b, log := adopting(t)
	require.NoError(t, b.once())
	require.Equal(t, "wrong", b.read("a/b/f"))
	require.Contains(t, log.String(), "files of equal size and time are taken for equal")
	require.Contains(t, log.String(), "--verify")
	require.Error(t, Verify(t.Context(), b.config, false))
}

// With --verify they are compared by sums, and fetched if they differ. That happens once,
// even if the directory was adopted before.
func TestAdoptBySums(t *testing.T) {
	s, b, log := adopting(t)
	b.config.Sums, b.config.DryRun = true, true
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "check  \"a/b/f\"\n")
	b.config.DryRun = false
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files (5 bytes)")
	require.NotContains(t, log.String(), "taken for equal")
	require.NoError(t, Verify(t.Context(), b.config, false))

	testtree.Make(t, b.config.Dest, "a/b/f = wrong @1000000000")
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files (5 bytes)")
	b.config.Sums = false
	b.requireIdle()
}

// If the source publishes no owners, --owner did nothing and did not say so.
func TestOwnerWithoutEffect(t *testing.T) {
	s, b := overHTTP(t, "a/f = x")
	log := &heard{}
	b.config.Log, b.config.Owner = slog.New(slog.NewTextHandler(log, nil)), true
	require.NoError(t, b.once())
	require.Contains(t, log.String(), "--owner has no effect: the source publishes no owners")
	local := newBench(t, s.root)
	log = &heard{}
	local.config.Log, local.config.Owner = slog.New(slog.NewTextHandler(log, nil)), true
	require.NoError(t, local.once())
	require.NotContains(t, log.String(), "no effect")
}
