package pass

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// A pass that is stopped ends after the steps under way, deletes nothing, and is not complete.
func TestAStoppedPass(t *testing.T) {
	for _, during := range []string{"list /a", "fetch /a/g", "sums"} {
		simulate(t, during, "a/f b/f old", func(t *testing.T, r *rig) {
			require.True(t, r.Tree.Enlarge("b/f", work.LeastTakenOver))
			r.Tree.Publish()
			r.complete()
			require.True(t, r.Tree.Move("b/f", "a/new"))
			r.remove("old")
			r.write("a/g b/g")
			ctx, stop := context.WithCancel(r.ctx)
			defer stop()
			r.ctx, r.Asked = ctx, nil
			began := time.Now()
			r.Fault = func(call string) error {
				if call == during {
					<-time.After(time.Second)
					stop()
				}
				return nil
			}
			called := false
			r.options.BeforeDelete = func() { called = true }
			p, err := r.try()
			require.ErrorIs(t, err, context.Canceled)
			require.False(t, p.Complete || called)
			require.Zero(t, p.Deleted+p.Failed)
			require.Equal(t, time.Second, p.Took)
			require.Equal(t, time.Second+r.wait, time.Since(began))
			require.Contains(t, r.paths(), "old")
			require.Contains(t, r.behind(), "/")
			require.Equal(t, during == "sums", r.asked("fetch") > 0 && during != "fetch /a/g", during)

			r.Fault, r.ctx, r.options.BeforeDelete = nil, t.Context(), nil
			r.complete()
		})
	}
}

// Only large files count as such. The others were counted and never taken away again, and the large
// ones waited for good.
func TestWhatCountsAsLarge(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		p := newPass(&r.env, &r.options)
		for i, large := range []bool{false, true, false} {
			p.handOut(t.Context(), task{kind: fetchTask, files: []nodeFiles{{n: &node{}}}, large: large})
			record := <-p.records
			require.Equal(t, i+1, p.running)
			counted := 0
			if large {
				counted = 1
			}
			require.Equal(t, counted, p.largeRunning)
			record()
			require.Zero(t, p.largeRunning)
		}
	})
}

// A large file waits until nothing else is under way. Were other steps counted like those of large
// files, and not when they end, it would never come.
func TestALargeFileComesInTheEnd(t *testing.T) {
	simulate(t, "", "a/f large", func(t *testing.T, r *rig) {
		r.write("a/f")
		require.True(t, r.Tree.Enlarge("large", batchBytes+1))
		r.Tree.Publish()
		require.Equal(t, int64(2), r.complete().Fetched)
	})
}

// While there is something else to do, a quarter of the jobs fetches large files, and no more.
func TestAQuarterOfTheJobsFetchesLargeFiles(t *testing.T) {
	simulate(t, "", "largeaa largeab largeac largead", func(t *testing.T, r *rig) {
		var dirs []string
		for i := range 18 {
			dirs = append(dirs, "d"+letters(i)+"/f")
		}
		r.write(strings.Join(dirs, " "))
		for i := range 4 {
			require.True(t, r.Tree.Enlarge("large"+letters(i), batchBytes+1))
		}
		r.Tree.Publish()
		r.options.Jobs = 8
		var mu sync.Mutex
		large, lists, most := 0, 0, 0
		var begun, listed time.Time // when the last of each began, or ended
		add := func(l, d int) {
			mu.Lock()
			defer mu.Unlock()
			large, lists = large+l, lists+d
			if l > 0 {
				begun = time.Now()
			} else if d < 0 {
				listed = time.Now()
			}
			if lists > 0 {
				most = max(most, large)
			}
		}
		r.yield = func(what string) {
			l, d := 0, 0
			if strings.HasPrefix(what, "open /large") {
				l = 1
			} else if strings.HasPrefix(what, "list /d") {
				d = 1
			}
			if l+d > 0 {
				add(l, d)
				<-time.After(time.Second)
				add(-l, -d)
			}
		}
		require.Equal(t, int64(22), r.complete().Fetched)
		require.Equal(t, 2, most)
		require.True(t, begun.Before(listed), "when one has come, it is the turn of another")
	})
}

// While a step takes long, progress is reported four times a second; after many quick ones, not
// after each; and at the end.
func TestProgressIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		calls int
	}{
		"one that takes long":  {takes: 4*reportEvery + 1, calls: 5},
		"quick ones":           {calls: 1},
		"some that take a bit": {takes: reportEvery / 2, calls: 9},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			var files []string
			for i := range 8 {
				files = append(files, "d"+letters(i)+"/f")
			}
			r.write(strings.Join(files, " "))
			slow := func(call string) bool { return strings.HasPrefix(call, "list /d") }
			if c.takes > reportEvery {
				slow = func(call string) bool { return call == "list /daa" }
			}
			r.Fault = func(call string) error {
				if slow(call) {
					<-time.After(c.takes)
				}
				return nil
			}
			var all []Progress
			r.options.Progress = func(p Progress) { all = append(all, p) }
			r.complete()
			require.Len(t, all, c.calls)
			for i, p := range all {
				require.Equal(t, i == len(all)-1, p.Done)
			}
		})
	}
}

// A dry run of everything leaves records as they are, also where something is held, and compares
// by the clock of now, for another one may have been taken over.
func TestADryRunOfEverything(t *testing.T) {
	for _, dry := range []bool{true, false} {
		simulate(t, fmt.Sprint(dry), "a/f b/old", func(t *testing.T, r *rig) {
			require.NoError(t, r.Shell.Write("/copy/a/mine", "x"))
			r.options.HoldAll, r.env.DryRun = "a reason", dry
			p := r.full()
			require.Equal(t, int64(1), p.Held)
			record, _ := r.record("a")
			require.Equal(t, !dry, record.IsUnfinished())

			r.options.HoldAll = ""
			r.env.DryRun = false
			require.Equal(t, int64(1), r.full().Deleted)
			r.remove("b/old")
			r.env.DryRun = dry
			r.show = func(path string, l *source.Dir) { l.Now = mtree.Unix(1000, 0) }
			p = r.full()
			require.Equal(t, dry, p.Deleted == 1)
			require.Equal(t, dry, p.Past == nil)
		})
	}
}

// A dry run compares by sums if that is asked for; else the root's record says so.
func TestADryRunWithSums(t *testing.T) {
	for _, dry := range []bool{true, false} {
		simulate(t, fmt.Sprint(dry), "a/f", func(t *testing.T, r *rig) {
			r.env.DryRun, r.options.Sums = dry, true
			r.full()
			require.Equal(t, dry, r.out.String() == "check  \"a/f\"\n", r.out.String())
			require.Zero(t, r.asked("sums"))
		})
	}
}

// The lines of a dry run. It said chmod of each file whose owner is another one, too, in copies whose owners are their own.
func TestTheLinesOfADryRun(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		p := r.begun("a")
		change := func(name string, what mtree.Differs) []mtree.Change {
			return []mtree.Change{{What: what, Want: &mtree.Entry{Name: name, Size: 7}}}
		}
		p.itemise(p.ready[0], &work.VisitResult{Plan: plan.Plan{
			MakeDirs: change("d", 0), MakeLinks: change("l", 0), Fetch: change("f", 0), SetModes: change("m", 0),
			Check: append(append(change("c", 0), change("cm", mtree.Mode)...), change("co", mtree.Owner)...),
			Extra: []*mtree.Entry{{Name: "x"}}, Kept: []*mtree.Entry{{Name: "k"}},
		}})
		require.Equal(t, `mkdir  "a/d"
link   "a/l"
fetch  "a/f"
check  "a/c"
check  "a/cm"
chmod  "a/cm"
check  "a/co"
chmod  "a/m"
delete "a/x"
keep   "a/k"
`, r.out.String())
		require.Equal(t, int64(1), p.result.Fetched)
		require.Equal(t, int64(7), p.result.Bytes)

		r.out.Reset()
		p.env.Owner = true
		p.itemise(p.ready[0], &work.VisitResult{Plan: plan.Plan{Check: change("co", mtree.Owner)}})
		require.Equal(t, "check  \"a/co\"\nchmod  \"a/co\"\n", r.out.String())
	})
}

// Whether a file needs to be tried on a disk that was full: if there is room for it now, or once
// a minute. The next pass remembers, unless everything fitted, or nothing was tried.
func TestWhatAFullDiskLacks(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		began := time.Now()
		c := fullDisk{}
		require.False(t, c.lacks(r.replica, 1<<60), "it was not full")
		c.note(&Result{NoRoom: errNoRoom, tried: true})
		require.Equal(t, began, c.at)
		r.Made("")
		require.False(t, c.lacks(r.replica, 1))
		require.True(t, c.lacks(r.replica, 1<<60))
		require.Equal(t, 1, r.Made("statfs"), "it is asked once in a pass")
		free := r.replica.Root.Free()
		require.False(t, c.lacks(r.replica, free))
		require.True(t, c.lacks(r.replica, free+1))
		c.free = 0
		require.True(t, c.lacks(r.replica, 1), "that it was asked for 0 counts, too")

		<-time.After(fullFor)
		require.True(t, c.lacks(r.replica, 1<<60))
		<-time.After(1)
		require.False(t, c.lacks(r.replica, 1<<60))
		c.note(&Result{NoRoom: errNoRoom})
		require.Equal(t, began, c.at, "it was only remembered")
		require.Equal(t, int64(-1), c.free)
		c.note(&Result{})
		require.True(t, c.at.IsZero())
	})
}

// What is not copied in a directory is noted if there is anything, or was; a bounded number of
// directories.
func TestWhatIsNotedOfWhatIsNotCopied(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		require.NoError(t, r.replica.UpdateUncopied(replica.Uncopied{"a": 2}, func(string) bool { return false }, true))
		p := r.begun()
		p.noteUncopied("a", 0)
		p.noteUncopied("b", 0)
		p.noteUncopied("c", 1)
		require.Equal(t, replica.Uncopied{"a": 0, "c": 1}, p.uncopied)
		for i := len(p.uncopied); i < replica.MostUncopied-1; i++ {
			p.uncopied[fmt.Sprint(i)] = 1
		}
		p.noteUncopied("d", 1)
		p.noteUncopied("e", 1)
		require.Contains(t, p.uncopied, "d")
		require.NotContains(t, p.uncopied, "e")
		p.noteUncopied("a", 3)
		require.Equal(t, int64(3), p.uncopied["a"], "it was counted before")
	})
}

// A pass whose last step fails is not complete, though everything was stamped.
func TestAPassThatFailsAtItsEnd(t *testing.T) {
	simulate(t, "", "a/f a/old", func(t *testing.T, r *rig) {
		r.hold()
		r.options.HoldAll = ""
		r.Refuse("unlink held", unix.EIO, 1)
		p, err := r.try()
		require.ErrorIs(t, err, unix.EIO)
		require.False(t, p.Complete)
		require.Empty(t, r.behind())
	})
}
