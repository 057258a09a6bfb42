package mirror

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// turning is a source in which something happens between the listing and the fetch of a file.
type turning struct {
	origin
	path string // of the file
	turn func() // nil: it has happened
}

func (s *turning) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	if s.turn != nil && slices.ContainsFunc(want, func(w source.Wanted) bool { return w.Path == s.path }) {
		s.turn()
		s.turn = nil
	}
	return s.origin.Fetch(ctx, want)
}

// A symlink took the place of a file, or of a directory above it, between listing and fetch.
// serve follows symlinks, so the copy got what they lead to as a file under that name: one
// that never was there in the source.
func TestALinkThatTookAFilesPlace(t *testing.T) {
	for name, at := range map[string]struct{ place, target string }{
		"of a file":       {"a/f", "g"},
		"of a directory":  {"a", "b"},
		"and leads apart": {"a/f", "../b/f"},
		"and leads to it": {"a/f", "../aside"},
	} {
		t.Run(name, func(t *testing.T) {
			eachSource(t, func(t *testing.T, s *tree, b *bench) {
				turns := &turning{path: "a/f", turn: func() {
					require.NoError(t, os.Rename(s.path(at.place), s.path("aside")))
					require.NoError(t, os.Symlink(at.target, s.path(at.place)))
				}}
				p := b.passFrom(func(o origin) origin { turns.origin = o; return turns })
				require.Nil(t, turns.turn, "it has happened")
				require.False(t, p.Complete)
				_, err := os.Lstat(filepath.Join(b.config.Dest, "a/f"))
				require.ErrorIs(t, err, os.ErrNotExist)
				s.publish(at.place)
				require.True(t, b.passWith(s).Complete)
				b.same(s)
			}, "a/f = one", "a/g = of g", "b/f = of f in b", "b/g = of g in b")
		})
	}
}
