package mirror

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// A copy of a tree that nobody watches takes what any server at its address lists. For one pass that
// was another server, which does not say when it listed: the records lost their `now`. What had been
// rewritten before, with equal size and time, was not compared when serve answered again.
func TestAnotherServerForOnePass(t *testing.T) {
	at := time.Unix(1_000_000_000, 0).UTC()
	s := newTree(t, "f = one @1000000000", "g = one @1000000000")
	b := s.benchOverHTTP()
	b.equal(s)
	s.forge("f", "two")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/" {
			http.ServeFile(w, r, s.path(r.URL.Path))
			return true
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href=\"../\">../</a>\n")
		for _, name := range []string{"f", "g"} {
			_, _ = fmt.Fprintf(w, "<a href=%q>%s</a>   %s   3\n", name, name, at.Format("02-Jan-2006 15:04"))
		}
		_, _ = fmt.Fprint(w, "</pre></body></html>\n")
		return true
	})
	require.NoError(t, b.once())
	require.Equal(t, "one", b.read("f"), "nothing that is listed tells of it")
	b.server.interfere(nil)
	b.equal(s)
}
