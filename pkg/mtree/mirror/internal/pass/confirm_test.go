package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// once lets the source do something at a call, the first time.
func (r *rig) once(call string, do func()) {
	r.yield = func(what string) {
		if what == call {
			r.yield = nil
			do()
		}
	}
}

// changeAtFetch changes a/f when it is asked for, and publishes that.
func (r *rig) changeAtFetch() {
	r.once("fetch /a/f", func() {
		r.Tree.Write("a/f")
		r.Tree.Publish()
	})
}

// In a directory in which a file changes all the time, each pass left it unfinished, and the next
// one listed it whole. Now the next part says that the file is right.
func TestAFileThatChangesBeforeItIsFetched(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		for _, told := range []bool{true, true, false, true} {
			r.write("a/f")
			r.once("fetch /a/f", func() {
				if r.Tree.Write("a/f"); told {
					r.Tree.Publish()
				}
			})
			p, asked := r.follow()
			require.Equal(t, told, p.Complete)
			require.Contains(t, asked, "part /a")
			if told {
				require.Zero(t, p.Moved)
				require.Equal(t, "/ a/", r.behind(), "its stamp is still to come")
			} else {
				require.Equal(t, int64(1), p.Moved)
			}
			r.Tree.Publish()
			p, asked = r.follow()
			require.True(t, p.Complete)
			require.Empty(t, r.behind())
			require.NotContains(t, asked, "fetch /a/f", "it has it")
		}
	})
}

// Temporary files that are gone before they are fetched left their directory unfinished in each pass,
// and the next one listed it whole. Now the next part says that they are gone. One that the copy has
// in an older version is still there, so its directory waits.
func TestAFileThatVanishesBeforeItIsFetched(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		for _, name := range []string{"a/.temporary", "a/f"} {
			r.write(name)
			r.once("fetch /"+name, func() {
				r.Tree.Remove(name)
				r.Tree.Publish()
			})
			p, asked := r.follow()
			isNew := name != "a/f"
			require.Equal(t, isNew, p.Complete, name)
			require.Equal(t, !isNew, p.Moved > 0, name)
			if isNew {
				require.Contains(t, asked, "part /a")
				require.Equal(t, "/ a/", r.behind(), "the stamp of its removal is still to come")
			} else {
				require.NotContains(t, asked, "part /a")
			}
			p, asked = r.follow()
			require.True(t, p.Complete)
			require.Empty(t, r.behind())
			require.NotContains(t, asked, "fetch /"+name)
		}
	})
}

// A file that looks like the one that was listed, or takes the place of a directory, is not asked
// for: the directory stays unfinished.
func TestWhatIsNotConfirmed(t *testing.T) {
	simulate(t, "it looks like the other", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.write("a/f")
		r.once("fetch /a/f", func() {
			r.Tree.Rewrite("a/f")
			r.Tree.Publish()
		})
		p, asked := r.follow()
		require.False(t, p.Complete)
		require.NotContains(t, asked, "part /a")
		r.complete()
	})
	simulate(t, "in the place of a directory", "a/f/x a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.remove("a/f")
		r.write("a/f")
		r.changeAtFetch()
		p, asked := r.follow()
		require.False(t, p.Complete)
		require.NotContains(t, asked, "part /a")
		r.complete()
	})
}

// Files of --last are no better than what was listed long before them; and what leaves its directory
// unfinished anyway is not asked for.
func TestWhatElseIsNotConfirmed(t *testing.T) {
	simulate(t, "the last ones", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.options.Last = last(t, "f")
		r.write("a/f")
		r.changeAtFetch()
		p, asked := r.follow()
		require.False(t, p.Complete)
		require.NotContains(t, asked, "part /a")
		r.complete()
	})
	simulate(t, "unfinished", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.write("a/f a/g")
		p := r.begun("a")
		n := p.ready[0]
		require.True(t, (&nodeFiles{n: n}).group().Completes)
		n.blocked = true
		require.False(t, (&nodeFiles{n: n}).group().Completes)
	})
}

// The source was rolled back to before a change that a part had confirmed. Nobody had noted that
// its stamp was seen, so the copy stayed ahead for good.
func TestAStampThatConfirmedIsNoted(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.write("a/f")
		var top mtree.Stamp
		r.options.Listed = func(l *mtree.Listing, _ bool) error {
			top = mtree.Later(top, l.Stamp)
			return nil
		}
		r.changeAtFetch()
		p, _ := r.follow()
		require.True(t, p.Complete)
		versions := r.Tree.Past("a")
		require.Equal(t, versions[len(versions)-1].MTime, top)

		r.write("a/f")
		r.once("fetch /a/f", func() {
			r.Tree.Write("a/f")
			r.Tree.Publish()
			r.options.Listed = func(*mtree.Listing, bool) error { return errAway }
		})
		_, err := r.try()
		require.ErrorIs(t, err, errAway)
		_, complete := r.record("a")
		require.False(t, complete)
	})
}
