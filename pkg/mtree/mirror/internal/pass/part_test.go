package pass

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// A pass by parts makes the copy equal, and asks for nothing else.
func TestAPassByParts(t *testing.T) {
	simulate(t, "", "a/b/f a/b/g a/h c/i", func(t *testing.T, r *rig) {
		r.wait = 0
		r.Tree.Write("a/b/new")
		r.Tree.Mkdir("a/d")
		r.remove("a/b/f")
		p, asked := r.follow()
		require.True(t, p.Complete)
		require.Empty(t, r.behind())
		require.Equal(t, "a/ a/b/ a/b/g a/b/new a/d/ a/h c/ c/i", r.paths())
		require.Equal(t, []string{"root", "list /a", "list /a/b", "list /a/d", "fetch /a/b/new"}, asked)
		require.Equal(t, int64(1), p.Deleted)
		r.write("c/i")
		p, asked = r.follow()
		require.True(t, p.Complete)
		require.Equal(t, []string{"root", "list /c", "fetch /c/i"}, asked)
		require.Zero(t, r.Made("list "))
	})
}

// How many calls a pass makes for one file does not depend on how many others there are.
func TestAPassByPartsLooksAtWhatChanged(t *testing.T) {
	counts := map[int]int{}
	for _, width := range []int{2, 200} {
		simulate(t, fmt.Sprint(width), "a/f", func(t *testing.T, r *rig) {
			r.wait = 0
			for i := range width {
				r.Tree.Write(fmt.Sprintf("a/n%03d", i))
				r.Tree.Write(fmt.Sprintf("m%03d", i))
			}
			r.Tree.Publish()
			r.complete()
			r.write("a/f")
			r.Calls = nil
			p, _ := r.follow()
			counts[width] = len(r.Calls)
			require.True(t, p.Complete)
			require.Empty(t, r.behind())
		})
	}
	require.Equal(t, counts[2], counts[200])
}

// The root's part says nothing of how many other entries the source has. The last one of the
// copy stays.
func TestTheRootByAPart(t *testing.T) {
	simulate(t, "", "f g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.remove("f")
		p, _ := r.follow()
		require.Equal(t, int64(1), p.Deleted)
		require.Equal(t, "g", r.paths())
		r.remove("g")
		p, asked := r.follow()
		require.Equal(t, int64(1), p.Held)
		require.Equal(t, []string{"root"}, asked)
		require.Equal(t, "nothing would be left in the root", p.HeldWhy)
		require.Equal(t, "g", r.paths())
		p, asked = r.follow()
		require.Equal(t, int64(1), p.Held, "it stays held")
		require.Contains(t, asked, "list /", "the root is unfinished: it is listed whole")
	})
}

// A directory that is gone at the source stays, because it holds what filters exclude. The source lost
// everything, and a part told that: something would be left in the root, so all the rest was
// deleted, which a whole listing of an empty root never does.
func TestAnEmptyRootByAPart(t *testing.T) {
	simulate(t, "", "f g x/", func(t *testing.T, r *rig) {
		r.wait = 0
		r.env.Filters = last(t, "mine")
		r.replica.Filters = r.env.Filters
		require.NoError(t, r.Shell.Write("/copy/x/mine", "x"))
		r.write("f")
		r.complete()
		r.remove("f g x")
		p, _ := r.follow()
		require.Equal(t, int64(2), p.Held)
		require.Equal(t, "nothing would be left in the root", p.HeldWhy)
		require.Equal(t, "f g x/ x/mine", r.paths())
	})
}

// Such a directory stayed in a pass before. Only a whole listing says that nothing else is at the source.
func TestWhatStaysIsRecorded(t *testing.T) {
	simulate(t, "", "f g x/i", func(t *testing.T, r *rig) {
		r.wait = 0
		r.env.Filters = last(t, "mine")
		r.replica.Filters = r.env.Filters
		require.NoError(t, r.Shell.Write("/copy/x/mine", "x"))
		r.write("x/i")
		r.complete()
		r.remove("x")
		r.pass()
		require.Equal(t, "f g x/ x/mine", r.paths())
		r.remove("f g")
		p, asked := r.follow()
		require.Equal(t, int64(2), p.Held)
		require.Equal(t, "the source's root is empty", p.HeldWhy)
		require.Contains(t, asked, "list /")
		require.Equal(t, "f g x/ x/mine", r.paths())
	})
}

// The copy has a file that filters exclude. So the record keeps when it was compared last, and a day
// after that no part sufficed any more, for good.
func TestPartsAfterADay(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.env.Filters = last(t, "mine")
		r.replica.Filters = r.env.Filters
		require.NoError(t, r.Shell.Write("/copy/a/mine", "x"))
		r.write("a/f")
		r.complete()
		for _, whole := range []bool{false, true, false, false} {
			if r.wait = 0; whole {
				r.wait = 25 * time.Hour
			}
			r.write("a/f")
			p, asked := r.follow()
			require.True(t, p.Complete)
			listed := len(slices.DeleteFunc(asked, func(call string) bool { return call != "list /a" }))
			require.Equal(t, whole, listed > 1, "the part did not suffice: it is asked for the whole")
		}
	})
}

// A lost+found that the source lists is an entry as others are, and a part does not tell of it. One
// that only the copy has is none.
func TestTheLostFoundOfASource(t *testing.T) {
	for _, listed := range []bool{true, false} {
		simulate(t, fmt.Sprint(listed), "f", func(t *testing.T, r *rig) {
			r.wait = 0
			if listed {
				r.write("lost+found/")
				r.complete()
			} else {
				require.NoError(t, r.Shell.Mkdir("/copy/lost+found", 0o700))
				r.pass()
			}
			r.remove("f")
			p, asked := r.follow()
			require.Equal(t, listed, p.Deleted == 1)
			require.Equal(t, !listed, p.Held == 1)
			require.Equal(t, []string{"root", "list /"}, asked)
		})
	}
}

// What a part left to do below other names, and was not done, the next part does not tell of.
func TestAPartThatFailsLeavesItsDirectoryBegun(t *testing.T) {
	simulate(t, "", "a/b/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.write("a/b/f")
		r.lose(errors.New("away"), "list /a/b")
		p, _ := r.follow()
		require.False(t, p.Complete)
		for _, path := range []string{"", "a"} {
			record, _ := r.record(path)
			require.True(t, record.IsUnfinished(), path)
		}
		r.Fault = nil
		r.write("a/g")
		p, _ = r.follow()
		require.True(t, p.Complete)
		require.Empty(t, r.behind())
	})
}

// A directory that a pass left incomplete is not looked at by a part, until a pass completes the
// copy. If there are too many, none is.
func TestWhatStaysUnfinished(t *testing.T) {
	left := func(path string) *node { return &node{Target: work.Target{Path: path}} }
	var u unfinished
	u.note(true, nil)
	require.False(t, u.has(""))
	u.note(false, nil)
	require.True(t, u.has(""), "an early end leaves the root")
	require.False(t, u.has("a"))
	u.note(false, []*node{left("a/b"), left("a")})
	u.note(false, []*node{left("c")})
	require.True(t, u.has("a/b") && u.has("a") && u.has("c"))
	require.False(t, u.has("a/c"))
	many := make([]*node, mostUnfinished)
	for i := range many {
		many[i] = left("x")
	}
	u.note(false, many)
	require.True(t, u.has("anything"))
	u.note(false, nil)
	require.True(t, u.has("anything"))
	u.note(true, nil)
	require.False(t, u.has("a") || u.has(""))

	simulate(t, "", "a/b/f a/g", func(t *testing.T, r *rig) {
		r.wait = 0
		r.options.Memory.unfinished.note(false, []*node{left("a")})
		r.write("a/b/f")
		p, asked := r.follow()
		require.True(t, p.Complete)
		require.Equal(t, []string{"root", "list /", "list /a", "list /a", "list /a/b", "fetch /a/b/f"}, asked)
		r.write("a/b/f")
		_, asked = r.follow()
		require.Equal(t, []string{"root", "list /a", "list /a/b", "fetch /a/b/f"}, asked)
	})
}

// A directory that was stamped after its parent was listed does not keep the parent incomplete:
// the parent is stamped, too, and the next pass looks there.
func TestADirectoryThatIsLaterBlocksNothing(t *testing.T) {
	for name, cached := range map[string]bool{"": false, "out of a cache": true} {
		simulate(t, name, "a/f b/g", func(t *testing.T, r *rig) {
			r.wait = 0
			r.write("a/f")
			written := false
			r.yield = func(what string) {
				if what == "list /a" && !written {
					written = true
					r.write("a/f")
					<-time.After(time.Millisecond)
				}
			}
			r.show = func(_ string, l *source.Dir) { l.Direct = l.Direct && !cached }
			p := r.pass()
			require.Equal(t, !cached, p.Complete)
			record, complete := r.record("")
			require.Equal(t, !cached, complete && record.Stamp == p.Root)
			require.Equal(t, "/", r.behind())
			r.complete()
		})
	}
}

// The root's part did not suffice, and a cache that was told to ask gave the whole root as the copy
// had it: the pass had nothing to do and was complete. The mirror then waited for a change after the
// one that the part had told of, for ever, and said "mirrored".
func TestACachedRootInThePlaceOfAPart(t *testing.T) {
	for name, spoil := range map[string]func(r *rig){
		"the root was left open":    func(r *rig) { r.options.Memory.unfinished = unfinished{paths: map[string]bool{"": true}} },
		"somebody made a file here": func(r *rig) { require.NoError(r.t, r.Shell.Write("/copy/local", "x")) },
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			r.wait = 0
			cached, err := r.Site.List(t.Context(), "", source.Fresh)
			require.NoError(t, err)
			r.write("a/f")
			spoil(r)
			r.show = func(path string, l *source.Dir) {
				if path == "" {
					*l = cached
				}
			}
			p, asked := r.follow()
			require.Contains(t, asked, "list /")
			require.False(t, p.Complete)
			r.show = nil
			r.complete()
			require.Empty(t, r.behind())
		})
	}
}

// Nor does such a root delete: what it does not list may be there again.
func TestNothingIsDeletedByACachedRootInThePlaceOfAPart(t *testing.T) {
	simulate(t, "", "a/f e/f", func(t *testing.T, r *rig) {
		r.wait = 0
		r.remove("e/f e")
		cached, err := r.Site.List(t.Context(), "", source.Fresh)
		require.NoError(t, err)
		r.write("e/f")
		r.options.Memory.unfinished = unfinished{paths: map[string]bool{"": true}}
		r.show = func(path string, l *source.Dir) {
			if path == "" {
				*l = cached
			}
		}
		p, _ := r.follow()
		require.False(t, p.Complete)
		require.Equal(t, "a/ a/f e/ e/f", r.paths())
	})
}
