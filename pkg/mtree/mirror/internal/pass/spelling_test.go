package pass

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// folding runs a test twice: with passes by whole listings, and by parts. The copy has everything,
// and its directory d takes names that differ in case for one, as ext4 does after chattr +F. Its root
// and its .tidemark do not, so mirror knows nothing of that. next runs a pass.
func folding(t *testing.T, name string, test func(t *testing.T, r *rig, next func() *Result)) {
	t.Helper()
	for _, parts := range []bool{false, true} {
		simulate(t, fmt.Sprint(name, ", by parts: ", parts), "d/README d/other d/Dir/f e/f", func(t *testing.T, r *rig) {
			require.True(t, r.Tree.Link("d/Link"))
			r.Tree.Publish()
			r.complete()
			require.NoError(t, r.Shell.Fold("/copy/d"))
			require.False(t, r.replica.Staging.Folds)
			r.wait = 0
			test(t, r, func() *Result {
				if !parts {
					return r.pass()
				}
				p, _ := r.follow()
				return p
			})
		})
	}
}

// text returns what a file of the copy has.
func (r *rig) text(path string) string {
	r.t.Helper()
	text, err := r.Shell.Read("/copy/" + path)
	require.NoError(r.t, err)
	return text
}

// collides requires that a pass reported a name that the copy cannot hold, and completed nothing.
func (r *rig) collides(p *Result) {
	r.t.Helper()
	require.False(r.t, p.Complete)
	require.Equal(r.t, int64(1), p.Failed)
	require.ErrorIs(r.t, p.Errs[0], disk.ErrCollides)
	require.Equal(r.t, exit.Local, exit.Of(p.Errs[0]))
	_, complete := r.record("d")
	require.False(r.t, complete)
}

// What was renamed to another spelling took the place of the old name, and then the old name was
// deleted: the directory was complete without the file. Now the old name goes first, and the next
// pass makes the new one.
func TestARenameToAnotherSpelling(t *testing.T) {
	for _, name := range []string{"README", "Dir", "Link"} {
		folding(t, name, func(t *testing.T, r *rig, next func() *Result) {
			require.True(t, r.Tree.Move("d/"+name, "d/"+strings.ToLower(name)))
			r.Tree.Publish()
			r.collides(next())
			require.NotContains(t, r.paths(), "d/"+name, "what the copy cannot hold stops no deletion")
			require.True(t, next().Complete, r.log.String())
			require.Empty(t, r.behind())
			require.Contains(t, r.paths(), "d/"+strings.ToLower(name))
		})
	}
}

// Of two names at the source that the copy takes for one, it has the one that was there. The second
// one took its place, and both counted as copied.
func TestTwinsInADirectoryThatFolds(t *testing.T) {
	folding(t, "one is there", func(t *testing.T, r *rig, next func() *Result) {
		was := r.text("d/README")
		r.write("d/readme")
		for range 2 {
			r.collides(next())
			require.Equal(t, was, r.text("d/README"))
			require.Equal(t, "d/ d/Dir/ d/Dir/f d/Link d/README d/other e/ e/f", r.paths())
		}
		r.remove("d/readme")
		require.True(t, next().Complete)
		require.Empty(t, r.behind())
		require.Equal(t, was, r.text("d/README"))
	})
	folding(t, "both are new", func(t *testing.T, r *rig, next func() *Result) {
		r.write("d/new/A d/new/a")
		for range 2 {
			p := next()
			require.False(t, p.Complete)
			require.ErrorIs(t, p.Errs[0], disk.ErrCollides)
			require.Len(t, r.Shell.Names("/copy/d/new"), 1)
		}
	})
}

// A large twin was fetched in each pass, only for its name to be refused then.
func TestALargeTwinIsNotFetched(t *testing.T) {
	folding(t, "", func(t *testing.T, r *rig, next func() *Result) {
		var last Progress
		r.options.Progress = func(p Progress) { last = p }
		require.True(t, r.Tree.Write("d/readme") && r.Tree.Enlarge("d/readme", work.LeastTakenOver))
		r.Tree.Publish()
		for range 2 {
			r.collides(next())
			require.Zero(t, last.Bytes)
		}
	})
}

// Nor is a large file that was renamed to another spelling copied before that.
func TestALargeFileInAnotherSpelling(t *testing.T) {
	folding(t, "", func(t *testing.T, r *rig, next func() *Result) {
		require.True(t, r.Tree.Enlarge("d/README", work.LeastTakenOver))
		r.Tree.Publish()
		require.True(t, next().Complete)
		require.True(t, r.Tree.Move("d/README", "d/readme"))
		r.Tree.Publish()
		r.Made("")
		r.collides(next())
		require.Equal(t, 1, r.Made("open README"), "for its sum")
		p := next()
		require.True(t, p.Complete)
		require.Empty(t, r.behind())
	})
}

// A name that came and went beside another spelling of it: the other one was deleted, by the part
// that told of it.
func TestWhatCameAndWentInAnotherSpelling(t *testing.T) {
	folding(t, "", func(t *testing.T, r *rig, next func() *Result) {
		was := r.text("d/README")
		r.write("d/readme")
		r.remove("d/readme")
		require.True(t, next().Complete)
		require.Empty(t, r.behind())
		require.Equal(t, was, r.text("d/README"))
	})
}

// A directory that is filled aside is made in .tidemark, so it does not fold, wherever it is placed.
func TestADirectoryFilledAsideFoldsNothing(t *testing.T) {
	folding(t, "", func(t *testing.T, r *rig, next func() *Result) {
		paths := "d/many/A d/many/a"
		for i := range 16 {
			paths += " d/many/f" + letters(i)
		}
		r.write(paths)
		require.True(t, next().Complete)
		require.Empty(t, r.behind())
		require.Len(t, r.Shell.Names("/copy/d/many"), 18)
	})
}
