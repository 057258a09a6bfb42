package overlap

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// entriesOf returns entries of a directory with the ctimes that they have now.
func entriesOf(t *testing.T, dir *disk.Dir, names ...string) (entries []mtree.Entry) {
	for _, name := range names {
		info, err := dir.Stat(name)
		require.NoError(t, err)
		entries = append(entries, lister.EntryOf(name, info))
	}
	return entries
}

// lists is a source whose root has the entries that it returns.
type lists func() []mtree.Entry

func (l lists) List(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{Listing: mtree.Listing{Entries: l()}}, nil
}

func (lists) Serves(context.Context, string, []byte) bool { return false }

// A source whose root has the id and the entries of the copy, with all ctimes, is the copy
// only if its ctimes move with those of the copy. Else it is on a clone of this disk, or
// was made in the same moment.
func TestARootWithTheTimesOfTheCopy(t *testing.T) {
	dir := t.TempDir()
	testtree.Make(t, dir, "a/f = one", "g = x")
	dest, err := replica.Open(&replica.Options{Path: dir, Adopt: true, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	defer dest.Close()
	self, err := dest.Root.Self()
	require.NoError(t, err)
	for _, isCopy := range []bool{false, true} {
		was := entriesOf(t, dest.Root, "a", "g")
		root := source.Root{Dir: source.Dir{Tree: source.Tree{ID: "x"}, Listing: mtree.Listing{Stamp: self.MTime, ID: lister.DirID("x", self), Entries: was}}}
		guard := Guard{Replica: dest, Source: lists(func() []mtree.Entry {
			if isCopy {
				return entriesOf(t, dest.Root, "a", "g")
			}
			return was
		})}
		err := guard.CheckRoot(t.Context(), &root)
		if !isCopy {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, Err)
		require.Equal(t, exit.Refused, exit.Of(err))
	}
}

// Paths within each other are refused, also through a symlink, and before the copy is
// there.
func TestPathsWithinEachOther(t *testing.T) {
	dir := t.TempDir()
	testtree.Make(t, dir, "a/b/f = x", "ab/")
	require.NoError(t, os.Symlink("a/b", filepath.Join(dir, "link")))
	for _, tc := range []struct {
		from, to string
		ok       bool
	}{
		{"a", "a", false}, {"a", "a/b", false}, {"a/b", "a", false}, {"a", "a/new", false}, {"a", "link", false},
		{"a", "ab", true}, {"a/b", "a/new", true}, {"a", "new", true},
	} {
		err := CheckPaths(filepath.Join(dir, tc.from), filepath.Join(dir, tc.to))
		require.Equal(t, tc.ok, err == nil, "%s %s: %v", tc.from, tc.to, err)
	}
}
