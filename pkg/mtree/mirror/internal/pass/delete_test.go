package pass

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

var errAway = errors.New("the source does not answer")

// What is missing in a directory may have moved down. So nothing in it is deleted if
// something below it failed, in whatever order the directories were visited. Others are not
// concerned.
func TestNothingIsDeletedAboveWhatFailed(t *testing.T) {
	for name, c := range map[string]struct {
		have, remove, lost, stays string
		deleted                   int64
	}{
		"in it":               {"a/f a/old b/old", "a/old b/old", "a/f", "a/ a/f a/old b/", 1},
		"in it and below":     {"old a/f a/old a/b/old", "old a/old a/b/old", "a/f", "a/ a/b/ a/f a/old old", 1},
		"before what waits":   {"old a/f a/b/c/old", "old a/b/c/old", "a/f", "a/ a/b/ a/b/c/ a/f old", 1},
		"below, not in it":    {"old a/f b/old", "old b/old", "a/f", "a/ a/f b/ old", 1},
		"beside what is well": {"old a/f b/f", "old", "a/f b/f", "a/ a/f b/ b/f old", 0},
		"far below, between":  {"old a/old a/b/c/f", "old a/old", "a/b/c/f", "a/ a/b/ a/b/c/ a/b/c/f a/old old", 0},
	} {
		simulate(t, name, c.have, func(t *testing.T, r *rig) {
			r.remove(c.remove)
			r.write(c.lost)
			r.lose(errAway, "fetch /"+strings.Fields(c.lost)[0])
			p := r.pass()
			require.Equal(t, c.stays, r.paths())
			require.Equal(t, c.deleted, p.Deleted)
			require.False(t, p.Complete)
			require.Contains(t, r.behind(), "/ a/")
			r.Fault = nil
			r.complete()
			require.NotContains(t, r.paths(), "old")
		})
	}
}

// A directory that a cache answered for, with a listing from before, may have got what is
// missing above: that stays, and is looked at again, though the directory itself is complete.
func TestNothingIsDeletedAboveAListingOfThePast(t *testing.T) {
	simulate(t, "", "a/f a/old a/b/f", func(t *testing.T, r *rig) {
		r.remove("a/old")
		r.show = func(path string, l *source.Dir) {
			if path == "a" {
				l.ID = "00000000000000ff" // so what is below it is looked at
			}
			l.Past = path == "a/b"
		}
		require.False(t, r.pass().Complete)
		require.Equal(t, "a/ a/b/ a/b/f a/f a/old", r.paths())
		require.Equal(t, "/ a/", r.behind())
	})
}

// Of two copies behind one address one stood still. The root came from the other one, and what is
// below from that. In a directory of which nothing was gone there, the listing of the past was
// noticed and deleted nothing; but below it no stamp tells, as those listings agree with it, and
// what had come since was deleted.
func TestNothingIsDeletedBelowAListingOfThePast(t *testing.T) {
	simulate(t, "", "a/f a/b/new a/b/c/new d/old", func(t *testing.T, r *rig) {
		r.remove("a/b/new a/b/c/new d/old")
		r.show = func(path string, l *source.Dir) { l.Past = path == "a" }
		p := r.pass()
		require.False(t, p.Complete)
		require.Equal(t, "a/ a/b/ a/b/c/ a/b/c/new a/b/new a/f d/", r.paths())
		require.ErrorIs(t, p.Past, work.ErrPast)
		r.show = nil
		r.complete()
		require.Equal(t, "a/ a/b/ a/b/c/ a/f d/", r.paths())
	})
}

// Deletions of one depth are carried out beside each other, and those of different depths
// one after the other.
func TestDeletionsBesideEachOther(t *testing.T) {
	for deleted, together := range map[string]int{"a/x b/y": 2, "a/x a/b/y": 1, "x a/y": 1} {
		simulate(t, deleted, deleted, func(t *testing.T, r *rig) {
			r.remove(deleted)
			r.options.Jobs = 2
			var mu sync.Mutex
			running, most := 0, 0
			add := func(n int) {
				mu.Lock()
				defer mu.Unlock()
				running += n
				most = max(most, running)
			}
			r.Fail = func(call string) error {
				if call == "unlink x" || call == "unlink y" {
					add(1)
					<-time.After(time.Second)
					add(-1)
				}
				return nil
			}
			r.pass()
			require.Equal(t, together, most)
			require.NotContains(t, r.paths(), "x")
			require.NotContains(t, r.paths(), "y")
		})
	}
}

// What is held is written down in the order of the reasons, and the result names each once.
func TestHeldDeletionsAreWrittenDown(t *testing.T) {
	simulate(t, "", "old1 a/old2 b/old3 c/f", func(t *testing.T, r *rig) {
		for _, dir := range []string{"b", "c"} {
			require.NoError(t, r.Shell.Mkdir("/copy/"+dir+"/tree", 0o755))
			require.NoError(t, r.Shell.Mkdir("/copy/"+dir+"/tree/.tidemark", 0o755))
		}
		r.remove("old1 a/old2 b/old3")
		r.write("c/g")
		r.options.HoldAll = "a reason"
		p := r.pass()
		require.Equal(t, int64(5), p.Held)
		held, why := r.held()
		require.ElementsMatch(t, []string{"a/old2", "b/old3", "old1", "b/tree", "c/tree"}, strings.Fields(held))
		require.Equal(t, p.HeldWhy, why)
		require.Equal(t, 2, strings.Count(r.readHeld(), "#held "))
		require.Equal(t, "a reason; "+replica.WhyTree, why)
		require.Equal(t, int64(5), r.options.Counters.Held.Load())
	})
}

// readHeld returns the file.
func (r *rig) readHeld() string {
	text, err := r.Shell.Read("/copy/.tidemark/held")
	require.NoError(r.t, err)
	return text
}

// On a full disk a pass goes on without writing down what is held: it only says that there
// is no room. Any other error ends it.
func TestWhatIsHeldIsNotWritten(t *testing.T) {
	for _, full := range []bool{true, false} {
		simulate(t, "", "a/f a/old", func(t *testing.T, r *rig) {
			r.remove("a/old")
			r.options.HoldAll = "a reason"
			errno := unix.EIO
			if full {
				errno = unix.ENOSPC
			}
			r.Refuse("write .held.new", errno, 1)
			p, err := r.try()
			require.Equal(t, int64(1), p.Held)
			if full {
				require.NoError(t, err)
				require.ErrorIs(t, p.NoRoom, errno)
				require.True(t, replica.IsLocal(p.NoRoom))
			} else {
				require.ErrorIs(t, err, errno)
				require.True(t, replica.IsLocal(err))
				require.NoError(t, p.NoRoom)
			}
			require.False(t, p.Complete)
			r.pass()
			held, _ := r.held()
			require.Equal(t, "a/old", held)
		})
	}
}

// A dry run counts what would be deleted and held, and changes nothing, not even what is
// written of held deletions.
func TestADryRunDeletesNothing(t *testing.T) {
	simulate(t, "", "a/f a/old/f b/old", func(t *testing.T, r *rig) {
		was := r.paths()
		require.NoError(t, r.Shell.Mkdir("/copy/a/tree", 0o755))
		require.NoError(t, r.Shell.Mkdir("/copy/a/tree/.tidemark", 0o755))
		r.remove("a/old b/old")
		r.env.DryRun = true
		p := r.pass()
		require.Equal(t, int64(3), p.Deleted)
		require.Equal(t, int64(1), p.Held)
		require.Equal(t, replica.WhyTree, p.HeldWhy)
		require.Equal(t, strings.Replace(was, "a/old/f", "a/old/f a/tree/", 1), r.paths())
		held, _ := r.held()
		require.Empty(t, held)
		require.Zero(t, r.Made("setxattr"))
	})
}

// A directory all of whose deletions are held is opened to visit it, and not again to delete.
func TestWhatIsHeldTakesNoStep(t *testing.T) {
	simulate(t, "", "a/f a/old", func(t *testing.T, r *rig) {
		r.remove("a/old")
		r.options.HoldAll = "a reason"
		require.False(t, r.pass().Complete)
		require.Equal(t, 1, r.Made("open a"))
	})
}

// What was to replace a directory goes if the directory stays: if something failed there, or
// if the pass ends before the deletion, or among others. It stayed in .tidemark/tmp if the pass
// ended among deletions, or if the replacement failed: a file more with each pass, until the
// next start.
func TestWhatReplacesNothingIsDropped(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"something failed": func(r *rig) { r.lose(errAway, "fetch /a/f", "fetch /b/f") },
		"before": func(r *rig) {
			r.options.Last, r.options.BeforeDelete = last(r.t, "f"), nil
			r.Refuse("fsync a", unix.EIO, 1)
		},
		"among others":       func(r *rig) { r.options.BeforeDelete = func() { r.Refuse("fsync b", unix.EIO, 1) } },
		"it fails":           func(r *rig) { r.failIf("rename d", func() bool { return true }) },
		"it is not begun":    func(r *rig) { r.options.BeforeDelete = func() { r.Refuse("open a", unix.EIO, 1) } },
		"it is not found":    func(r *rig) { r.failIf("statx d", r.isStaged) },
		"it is not measured": func(r *rig) { r.failIf("list d", r.isStaged) },
	} {
		simulate(t, name, "a/f a/d/x b/f b/d/x", func(t *testing.T, r *rig) {
			r.remove("a/d b/d")
			r.Tree.Write("b/d")
			r.Tree.Write("a/d")
			r.write("a/f b/f")
			r.options.CommitFiles = 1
			end(r)
			p, _ := r.try()
			require.False(t, p.Complete)
			require.Contains(t, r.paths(), "a/d/x")
			require.Empty(t, r.Shell.Names("/copy/.tidemark/tmp"))
			require.Contains(t, p.Retry, "a")
			r.Fault, r.Fail, r.options.BeforeDelete = nil, nil, nil
			r.complete()
			require.Equal(t, "a/ a/d a/f b/ b/d b/f", r.paths())
		})
	}
}

// failIf lets a call fail under a condition.
func (r *rig) failIf(call string, is func() bool) {
	r.Fail = func(made string) error {
		if made == call && is() {
			return unix.EIO
		}
		return nil
	}
}

// isStaged reports whether something waits in the staging directory.
func (r *rig) isStaged() bool { return len(r.Shell.Names("/copy/.tidemark/tmp")) > 0 }

// last is a list of --last.
func last(t *testing.T, globs ...string) *glob.List {
	l, err := glob.Excluding(globs)
	require.NoError(t, err)
	return l
}

// A pass that ends early completes no directory that waits for its deletions, or for files
// that may be in the copy under a name that is to be deleted.
func TestAPassThatEndsEarlyCompletesNothingThatWaits(t *testing.T) {
	ended := errors.New("ended")
	simulate(t, "deletions", "a/f a/old b/f", func(t *testing.T, r *rig) {
		r.remove("a/old")
		r.write("b/g")
		r.options.Listed = func(l *mtree.Listing, _ bool) error {
			if len(l.Entries) == 2 && l.Entries[1].Name == "g" {
				return ended
			}
			return nil
		}
		p, err := r.try()
		require.ErrorIs(t, err, ended)
		require.ElementsMatch(t, []string{"a", "b", ""}, p.Retry)
		require.Equal(t, int64(3), p.Incomplete)
		require.Equal(t, "a/ a/f a/old b/ b/f", r.paths())
		require.Equal(t, "/ a/ b/", r.behind())
	})
	simulate(t, "files", "a/f b/f", func(t *testing.T, r *rig) {
		r.Tree.Write("b/large")
		r.write("a/g")
		r.show = func(path string, l *source.Dir) {
			for i := range l.Entries {
				if l.Entries[i].Name == "large" {
					l.Entries[i].Size = work.LeastTakenOver
				}
			}
		}
		listed := 0
		r.options.Listed = func(*mtree.Listing, bool) error {
			if listed++; listed == 3 {
				return ended
			}
			return nil
		}
		p, err := r.try()
		require.ErrorIs(t, err, ended)
		require.ElementsMatch(t, []string{"a", "b", ""}, p.Retry)
		require.Equal(t, "/ a/ b/", r.behind())
	})
}
