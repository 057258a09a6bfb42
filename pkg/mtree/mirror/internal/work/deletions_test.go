package work

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// What becomes of the deletions of a directory: all are tried; what fails is told, and what was
// to replace a directory that stays is removed.
func TestWhatBecomesOfDeletions(t *testing.T) {
	b := newBench(t, 0, "f g h e/ e/x s/ s/x r/ r/x")
	staged := func() string {
		name, err := b.env.Replica.Staging.Symlink("to")
		require.NoError(t, err)
		return name
	}
	deletions := func() []replica.Deletion {
		return []replica.Deletion{
			{Path: "d/f", Kind: mtree.File, Entries: 1}, {Path: "d/g", Kind: mtree.File, Entries: 1},
			{Path: "d/e", Kind: mtree.Dir, Entries: 2, Released: true},
			{Path: "d/s", Kind: mtree.Dir, Entries: 2, Staged: staged()},
			{Path: "d/r", Kind: mtree.Dir, Entries: 2, Staged: staged()},
		}
	}
	b.Refuse("open d", unix.EIO, 1)
	r := b.env.Delete(Target{Path: "d"}, deletions())
	require.Equal(t, "d", r.Failed[0].Path)
	require.Len(t, r.Failed, 1)
	require.ErrorIs(t, r.Failed[0].Err, unix.EIO)
	require.True(t, replica.IsLocal(r.Failed[0].Err))
	require.Zero(t, r.Deleted+r.Released+r.Replaced)
	require.Empty(t, b.Shell.Names("/copy/.tidemark/tmp"))
	require.Zero(t, b.changes)

	b.Fail = func(call string) error {
		if call == "unlink g" || call == "rename r" {
			return unix.EIO
		}
		return nil
	}
	r = b.env.Delete(Target{Path: "d"}, deletions())
	require.Equal(t, &DeleteResult{Deleted: 1 + 2 + 2, Released: 2, Replaced: 1, Each: []Deleted{{Entries: 1}, {Failed: true}, {Entries: 2}, {Entries: 2, Replaced: true}, {Failed: true}}, Failed: r.Failed}, r)
	require.Len(t, r.Failed, 2)
	require.Equal(t, "d/g", r.Failed[0].Path)
	require.Equal(t, "d/r", r.Failed[1].Path)
	require.True(t, replica.IsLocal(r.Failed[1].Err))
	require.Equal(t, []string{"g", "h", "r", "s"}, b.names())
	require.Empty(t, b.Shell.Names("/copy/.tidemark/tmp"))
	require.True(t, b.recorded("d").IsUnfinished())
	require.Equal(t, 1, b.changes)
}

// What took the place of a directory is in place, though the directory could neither be cleared nor put back: it is
// not abandoned, and does not count as failed to be replaced. And it may be a name of a file that has others.
func TestAReplacementOfWhatStays(t *testing.T) {
	b := linkedBench(t)
	b.make("d", "r/ r/x")
	staged, err := b.env.Replica.Staging.Symlink("to")
	require.NoError(t, err)
	renames := 0
	b.Fail = func(call string) error {
		if call == "unlink x" {
			return unix.EIO
		}
		if strings.HasPrefix(call, "rename ") {
			if renames++; renames == 2 {
				return unix.EIO
			}
		}
		return nil
	}
	r := b.env.Delete(Target{Path: "d"}, []replica.Deletion{{Path: "d/r", Kind: mtree.Dir, Entries: 2, Staged: staged}})
	require.Len(t, r.Failed, 1)
	require.Equal(t, []Deleted{{Replaced: true}}, r.Each)
	require.EqualValues(t, 1, r.Replaced)
	require.Equal(t, map[string]bool{"d": true}, b.env.Replica.Links.Behind(func(string, uint64) bool { return false }))
}

// names returns the names in d.
func (b *bench) names() (all []string) {
	for _, e := range b.has() {
		all = append(all, e.Name)
	}
	return all
}
