package pass

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// asked reports how many of the calls at the source begin so.
func (r *rig) asked(begin string) (n int) {
	for _, call := range r.Asked {
		if strings.HasPrefix(call, begin) {
			n++
		}
	}
	return n
}

// A pass that finds nothing new lists nothing and writes nothing.
func TestAPassThatFindsNothing(t *testing.T) {
	simulate(t, "", "a/f b/", func(t *testing.T, r *rig) {
		r.Asked = nil
		root, _ := r.record("")
		p := r.complete()
		require.Equal(t, root.Stamp, p.Root)
		require.Zero(t, p.Listed+p.Seen+p.Made+p.Skipped+p.Moved)
		require.False(t, p.Full || p.Changed)
		require.Equal(t, []string{"root"}, r.Asked)
		require.Zero(t, r.Made("setxattr")+r.Made("utimes"))
		require.NotContains(t, r.log.String(), "skipped")
		require.Zero(t, r.out.Len())
	})
}

// What a pass counts of the directories that it compares, and of what it makes there.
func TestWhatVisitsCount(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.Tree.Link("a/link")
		r.write("a/d/ a/g b/new/g")
		p := r.complete()
		require.Equal(t, int64(5), p.Listed)
		require.Equal(t, int64(3+5), r.options.Counters.Listed.Load())
		require.Equal(t, int64(2+1+1), p.Seen)
		require.Equal(t, int64(5), p.Made)
		require.Equal(t, int64(2), p.Fetched)
		require.True(t, p.Changed)
	})
}

// A directory in which entries were made, or modes set, changed, and is flushed; one in which a
// full walk finds nothing did not.
func TestWhatAVisitMakesIsFlushed(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"a directory": func(r *rig) { r.write("a/d/") },
		"a symlink":   func(r *rig) { r.Tree.Link("a/link"); r.Tree.Publish() },
		"a mode":      func(r *rig) { r.Tree.Chmod("a/f"); r.Tree.Publish() },
	} {
		simulate(t, name, "a/f b/f", func(t *testing.T, r *rig) {
			change(r)
			p := r.complete()
			require.True(t, p.Changed)
			require.Equal(t, 1, r.count("fsync a"))
			require.Zero(t, r.count("fsync b"))
			p = r.full()
			require.False(t, p.Changed)
			require.Zero(t, r.count("fsync")+r.count("setxattr"))
		})
	}
}

// count reports how many calls of the last pass begin so.
func (r *rig) count(begin string) (n int) {
	for _, call := range r.Calls {
		if strings.HasPrefix(call, begin) {
			n++
		}
	}
	return n
}

// Whether a pass is a full walk: it was asked for, or the root's record says so.
func TestWhatIsAFullWalk(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.write("a/g")
		require.False(t, r.complete().Full)
		p := r.full()
		require.True(t, p.Full && p.Complete)
		require.Equal(t, int64(3), p.Listed)
		require.NoError(t, r.replica.Distrust(0))
		p = r.complete()
		require.True(t, p.Full)
		require.Equal(t, int64(3), p.Listed)
	})
	bubble(t, "new", func(t *testing.T, r *rig) {
		r.write("a/f")
		require.False(t, r.complete().Full)
	})
}

// A copy with a record whose status was lost is counted at the end of a pass that completes it.
func TestACopyWhoseStatusWasLost(t *testing.T) {
	for _, lost := range []bool{true, false} {
		bubble(t, fmt.Sprint(lost), func(t *testing.T, r *rig) {
			r.write("a/f b/f")
			if lost {
				r.complete()
				r.replica.Close()
				require.NoError(t, r.Shell.Remove("/copy/.tidemark/status.json"))
				r.open(replica.Options{})
				r.write("a/f")
			}
			r.lose(errAway, "fetch /a/f")
			require.False(t, r.pass().Complete)
			require.Equal(t, lost, r.replica.Status().Deletions.Unsure)
			r.Fault = nil
			r.complete()
			require.Equal(t, int64(4), r.replica.Counters().Entries)
		})
	}
}

// A source whose root lists nothing is not empty if it hides what the copy has there.
func TestARootThatHidesADirectory(t *testing.T) {
	simulate(t, "", "d/f old", func(t *testing.T, r *rig) {
		require.True(t, r.Tree.Mount("d"))
		r.remove("old")
		p := r.pass()
		require.True(t, p.Complete)
		require.Equal(t, int64(1), p.Deleted)
		require.Equal(t, "d/ d/f", r.paths())
		require.Equal(t, int64(1), p.Skipped)
		require.Contains(t, r.log.String(), `path="\"d\""`)
	})
}

// A copy that meets itself ends the pass at once; nothing failed.
func TestACopyThatMeetsItself(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.write("a/g b/g")
		r.show = func(path string, l *source.Dir) {
			if path == "a" {
				l.Node = r.replica.Self.Node
			}
		}
		p, err := r.try()
		require.ErrorIs(t, err, overlap.Err)
		require.Zero(t, p.Failed+p.Fetched)
		require.Equal(t, int64(1), p.Listed)
		require.Contains(t, p.Retry, "a")
		require.Equal(t, "/ a/ b/", r.behind())
	})
}

// What follows from the error of a listing: what the source may not read is left out; what
// moved is looked for again, and holds up deletions above; anything else failed.
func TestADirectoryThatIsNotListed(t *testing.T) {
	for name, c := range map[string]struct {
		err                      error
		root                     bool
		unreadable, failed, past bool
		moved, skipped, failures int64
	}{
		"denied":             {err: source.ErrDenied, unreadable: true, skipped: 1},
		"gone":               {err: source.ErrGone, failed: true, moved: 1},
		"moved":              {err: source.ErrMoved, failed: true, moved: 1},
		"of the past":        {err: work.ErrPast, failed: true, moved: 1, past: true},
		"anything else":      {err: errAway, failed: true, failures: 1},
		"of this disk":       {err: replica.Local(unix.EIO), failures: 1},
		"the root is denied": {err: source.ErrDenied, root: true, failed: true, failures: 1},
		"the root is gone":   {err: source.ErrGone, root: true, failed: true, failures: 1},
		"the root moved":     {err: source.ErrMoved, root: true, failed: true, failures: 1},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			require.NoError(t, r.replica.MarkUnfinished("a"))
			p := r.begun("a")
			n := p.ready[0]
			if c.root {
				n = p.ready[1]
			}
			n.visited = false
			p.recordVisit(n, &work.VisitResult{Err: fmt.Errorf("x: %w", c.err)})
			require.Equal(t, c.unreadable, n.unreadable)
			require.Equal(t, c.failed, n.failed)
			require.False(t, n.visited)
			require.Equal(t, c.moved, p.result.Moved)
			require.Equal(t, c.skipped, p.result.Skipped)
			require.Equal(t, c.skipped, r.options.Counters.Skipped.Load())
			require.Equal(t, c.failures, p.result.Failed)
			require.Equal(t, c.past, p.result.Past != nil)
			require.True(t, p.guard.unseen[n.Path])
			require.Equal(t, c.past, strings.Contains(r.log.String(), "deletions wait"))
			require.NoError(t, r.replica.UpdateStatus(func(*state.Status) bool { return true }))
			unread := r.replica.Status().Unread
			require.Equal(t, c.unreadable, unread == 1)
			p.recordVisit(n, &work.VisitResult{Same: true})
			require.NoError(t, r.replica.UpdateStatus(func(*state.Status) bool { return true }))
			require.Zero(t, r.replica.Status().Unread, "it is listed again")
		})
	}
}

// That deletions wait for a clock is told once in a pass.
func TestThatDeletionsWaitIsToldOnce(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		p := r.begun("a", "b")
		first := fmt.Errorf("first: %w", work.ErrPast)
		p.recordUnlisted(p.ready[0], first)
		p.recordUnlisted(p.ready[1], work.ErrPast)
		require.Equal(t, first, p.result.Past)
		require.Equal(t, 1, strings.Count(r.log.String(), "deletions wait"))
		require.Equal(t, int64(2), p.result.Moved)
	})
}

// A root from before the one that the pass began with is not completed. What a part says to be gone is
// remembered: a whole listing shows itself what the root has.
func TestTheVisitOfTheRoot(t *testing.T) {
	for name, c := range map[string]struct {
		part    []mtree.Span
		earlier bool
		gone    []string
	}{
		"a whole listing": {},
		"an earlier one":  {earlier: true},
		"a part":          {part: []mtree.Span{{}}, gone: []string{"old"}},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun()
			v := &work.VisitResult{}
			v.Plan.Extra = []*mtree.Entry{{Name: "old"}}
			if v.Listing.Part, v.Listing.Stamp = c.part, p.env.Root.Stamp; c.earlier {
				v.Listing.Stamp = v.Listing.Stamp.Add(-1)
			}
			p.recordVisit(p.ready[0], v)
			require.Equal(t, c.earlier, p.ready[0].blocked)
			require.Equal(t, c.gone, p.guard.goneRoot)
		})
	}
}

// What a visit left out is counted, and told; some warnings come once for all passes.
func TestWhatVisitsReport(t *testing.T) {
	entries := func(n int, has mtree.Attrs) (all []*mtree.Entry) {
		for i := range n {
			all = append(all, &mtree.Entry{Name: letters(i), Has: has})
		}
		return all
	}
	listed := func(n int, has mtree.Attrs) (l mtree.Listing) {
		for _, e := range entries(n, has) {
			l.Entries = append(l.Entries, *e)
		}
		return l
	}
	const links, owners = "holds no symlinks", "--owner has no effect"
	for name, c := range map[string]struct {
		v                        work.VisitResult
		noLinks, unwanted, owner bool
		skipped                  int64
		says                     []string
		once                     bool
	}{
		"nothing":              {},
		"kept":                 {v: work.VisitResult{Plan: plan.Plan{Kept: entries(2, 0)}}, skipped: 2, says: []string{"msg=kept", "the source may have and not list"}},
		"stays":                {v: work.VisitResult{Stays: 3}, skipped: 3, says: []string{"what filters exclude"}},
		"too deep":             {v: work.VisitResult{Plan: plan.Plan{TooDeep: entries(1, 0)}}, skipped: 1, says: []string{"path of more than"}},
		"symlinks":             {v: work.VisitResult{Plan: plan.Plan{SkippedLinks: entries(2, 0)}}, skipped: 2, says: []string{"lead out"}},
		"no disk for symlinks": {v: work.VisitResult{Plan: plan.Plan{SkippedLinks: entries(2, 0)}}, noLinks: true, skipped: 2, says: []string{"lead out", links}, once: true},
		"and none wanted":      {v: work.VisitResult{Plan: plan.Plan{SkippedLinks: entries(2, 0)}}, noLinks: true, unwanted: true, skipped: 2, says: []string{"lead out"}},
		"and none there":       {noLinks: true},
		"no owners":            {v: work.VisitResult{Listing: listed(1, mtree.HasMode)}, owner: true, says: []string{owners}, once: true},
		"owners":               {v: work.VisitResult{Listing: listed(1, mtree.HasOwner)}, owner: true},
		"nothing to own":       {owner: true},
		"owners not wanted":    {v: work.VisitResult{Listing: listed(1, mtree.HasMode)}},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			r.replica.NoLinks, r.env.NoLinks, r.env.Owner = c.noLinks, c.unwanted, c.owner
			p := r.begun("a")
			for again := range 2 {
				r.log.Reset()
				p.reportVisit(p.ready[0], &c.v)
				anything := false
				for _, text := range []string{"msg=kept", "the source may have and not list", "what filters exclude", "path of more than", "lead out", links, owners} {
					says := slices.Contains(c.says, text) && (again == 0 || !c.once || text != links && text != owners)
					require.Equal(t, says, strings.Contains(r.log.String(), text), text)
					anything = anything || says
				}
				require.Equal(t, anything, r.log.Len() > 0)
			}
			require.Equal(t, 2*c.skipped, p.result.Skipped)
			require.Equal(t, 2*c.skipped, r.options.Counters.Skipped.Load())
		})
	}
}

// What is not understood stays as it is, and is a failure that says so.
func TestAnEntryThatIsNotUnderstood(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		r.write("a/f a/new")
		r.show = func(path string, l *source.Dir) {
			for i := range l.Entries {
				if path == "a" {
					l.Entries[i].NotUnderstood = "colour"
				}
			}
		}
		p := r.pass()
		require.Equal(t, int64(2), p.Failed)
		require.ErrorContains(t, p.Errs[1], `"a/new": attribute "colour" is not understood`)
		require.Equal(t, "a/ a/f", r.paths())
		require.Equal(t, "/ a/", r.behind())
	})
}

// A deletion that was held stays held if its entry cannot be measured.
func TestAHoldOfWhatCannotBeMeasured(t *testing.T) {
	simulate(t, "", "a/f a/old/f", func(t *testing.T, r *rig) {
		r.hold()
		r.failIf("list old", func() bool { return true })
		r.write("a/g")
		p := r.requireHeld("a/old", "a reason")
		require.Equal(t, int64(1), p.Failed)
		require.ErrorContains(t, p.Errs[0], "a/old")
	})
}

// A directory is hot while an entry in it is: it is not completed, and read again.
func TestAHotEntry(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.write("a/g b/g")
		r.show = func(path string, l *source.Dir) {
			if path == "a" {
				l.Entries[0].Hot = true
			}
		}
		p := r.pass()
		require.Equal(t, int64(2), p.Fetched)
		require.Equal(t, "/ a/", r.behind())
		require.ElementsMatch(t, []string{"a", ""}, p.Retry)
	})
}

// A listing from before, out of a cache, completes no directory, though it shows nothing else.
func TestAListingOfThePastCompletesNothing(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.write("a/g b/g")
		r.show = func(path string, l *source.Dir) { l.Past = path == "a" }
		require.False(t, r.pass().Complete)
		require.Equal(t, "/ a/", r.behind())
		require.Equal(t, "a/ a/f a/g b/ b/f b/g", r.paths())
		r.show = nil
		r.complete()
	})
}

// A dry run writes a line for what it would do, and does nothing: it does not even commit.
func TestADryRunDoesNothing(t *testing.T) {
	simulate(t, "", "a/f a/old b/f", func(t *testing.T, r *rig) {
		was := r.paths()
		r.remove("a/old")
		r.write("a/g a/d/h b/g")
		r.env.DryRun, r.options.CommitFiles = true, 1
		p := r.pass()
		require.Equal(t, "mkdir  \"a/d\"\nfetch  \"a/g\"\ndelete \"a/old\"\nfetch  \"a/d/h\"\nfetch  \"b/g\"\n", r.out.String())
		require.Equal(t, was, r.paths())
		require.Equal(t, int64(3), p.Fetched)
		require.Equal(t, "/ a/ b/", r.behind())
		require.Zero(t, r.count("setxattr")+r.count("utimes"))
		require.Zero(t, r.asked("fetch /a/g"))
		r.env.DryRun = false
		r.complete()
		require.Equal(t, 5, strings.Count(r.out.String(), "\n"))
	})
}
