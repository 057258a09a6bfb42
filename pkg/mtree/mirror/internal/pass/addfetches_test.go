package pass

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Files are compared by their sums where size and time prove nothing, and fetched if they
// differ. What was compared counts from then on.
func TestFilesThatAreCompared(t *testing.T) {
	simulate(t, "", "a/f a/g b/f", func(t *testing.T, r *rig) {
		require.Zero(t, r.asked("sums"), "nothing was to compare")
		was, _ := r.record("a")
		require.NoError(t, r.replica.Distrust(replica.DoubtBytes))
		r.spoil("a/f")
		p := r.complete()
		require.Equal(t, int64(1), p.Fetched)
		require.Equal(t, 1, r.asked("sums"))
		is, _ := r.record("a")
		require.True(t, is.Now.After(was.Now))
		is, _ = r.record("b")
		require.True(t, is.Now.After(was.Now), "all of it was equal")
	})
}

// spoil changes the bytes of a file of the copy under its size and times.
func (r *rig) spoil(path string) {
	mtime, _, err := r.Shell.Times("/copy/" + path)
	require.NoError(r.t, err)
	text, err := r.Shell.Read("/copy/" + path)
	require.NoError(r.t, err)
	up := "/copy/" + mtree.ParentPath(path)
	upTime, _, err := r.Shell.Times(up)
	require.NoError(r.t, err)
	require.NoError(r.t, r.Shell.Write("/copy/"+path, strings.Repeat("?", len(text))))
	require.NoError(r.t, r.Shell.Touch("/copy/"+path, mtime, false))
	require.NoError(r.t, r.Shell.Touch(up, upTime, false))
}

// A directory that was begun gets its record again, if nothing in it changed then.
func TestADirectoryThatWasBegunInVain(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		require.NoError(t, r.Shell.Write("/copy/a/f", "somebody's"))
		r.lose(source.ErrDenied, "fetch /a/f")
		p := r.full()
		require.True(t, p.Complete)
		require.Equal(t, int64(1), p.Skipped)
		require.Empty(t, r.behind())
	})
}

// A file that was fetched is not compared while the directory stays incomplete, once its ctime
// is old.
func TestAFileThatArrivedIsKnown(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.write("a/f a/g")
		r.lose(errAway, "fetch /a/g")
		require.Equal(t, int64(1), r.pass().Fetched)
		r.Fault, r.Asked = nil, nil
		require.Equal(t, int64(1), r.complete().Fetched)
		require.Zero(t, r.asked("sums"))
	})
}

// A new directory of many files is filled elsewhere, and gets its name with all of them.
func TestANewDirectoryIsFilledElsewhere(t *testing.T) {
	for n, staged := range map[int]bool{15: false, 16: true} {
		simulate(t, fmt.Sprint(n), "f", func(t *testing.T, r *rig) {
			for i := range n {
				r.Tree.Mkdir("new")
				r.Tree.Write("new/" + letters(i))
			}
			r.Tree.Publish()
			require.Equal(t, int64(n), r.complete().Fetched)
			require.Equal(t, staged, r.count("rename new") > 0)
		})
	}
}

// What an earlier mirror wrote in a directory that it did not complete is flushed with
// everything, once.
func TestWhatAnEarlierMirrorWroteIsFlushed(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		flushes := 0
		r.replica.Flush = func() error { flushes++; return nil }
		require.NoError(t, r.replica.MarkUnfinished("a"))
		r.options.Memory = &Memory{}
		r.complete()
		require.Equal(t, 1, flushes)
		require.NoError(t, r.replica.MarkUnfinished("a"))
		r.complete()
		require.Equal(t, 1, flushes)
	})
}

// The order of files: those of --last come at the end.
func TestLastFilesComeLast(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.write("a/g a/last b/g b/last")
		r.options.Last = last(t, "last")
		r.Asked = nil
		r.complete()
		var files []string
		for _, call := range r.Asked {
			if path, ok := strings.CutPrefix(call, "fetch "); ok {
				files = append(files, path)
			}
		}
		require.Len(t, files, 4)
		require.ElementsMatch(t, []string{"/a/last", "/b/last"}, files[2:])
	})
}

// A file for which the disk had no room is not tried again at once if there is still none. A
// dry run tells of it.
func TestAFileWithoutRoomIsNotTried(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		r.wait = time.Second
		r.write("a/g")
		r.Machine.Full = true
		p := r.pass()
		require.Error(t, p.NoRoom)
		require.Equal(t, int64(1), p.Failed)
		r.Asked = nil
		p = r.pass()
		require.ErrorIs(t, p.NoRoom, unix.ENOSPC)
		require.Zero(t, r.asked("fetch"))
		require.Equal(t, int64(1), p.Failed)
		require.ErrorContains(t, p.Errs[0], "a/g")
		r.env.DryRun = true
		p = r.pass()
		require.Equal(t, int64(1), p.Fetched)
		require.Zero(t, p.Failed)
		r.env.DryRun = false
		r.wait = fullFor
		require.Equal(t, int64(1), r.pass().Failed)
		require.Equal(t, 1, r.asked("fetch"), "it is tried once a minute")
		r.wait, r.Machine.Full = time.Second, false
		r.complete()
	})
}

// Which files are looked for in the copy under names that are to be deleted: large ones that
// are missing, in a copy that was counted, of a source that tells what they are.
func TestWhichFilesAreTakenOver(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		set   func(r *rig)
		taken int64
		sums  bool
	}{
		"a large one":       {size: work.LeastTakenOver, taken: 1, sums: true},
		"a smaller one":     {size: work.LeastTakenOver - 1},
		"one that is there": {size: work.LeastTakenOver, set: func(r *rig) { _ = r.Shell.Write("/copy/b/new", "mine") }},
		"of another server": {size: work.LeastTakenOver, set: func(r *rig) { r.other = true }},
		"in a copy of nothing": {size: work.LeastTakenOver, set: func(r *rig) {
			r.replica.Close()
			_ = r.Shell.Remove("/copy/.tidemark/status.json")
			r.open(replica.Options{})
		}},
	} {
		simulate(t, name, "a/f b/f", func(t *testing.T, r *rig) {
			require.True(t, r.Tree.Write("a/large") && r.Tree.Enlarge("a/large", c.size))
			r.Tree.Publish()
			r.complete()
			r.Asked = nil
			require.True(t, r.Tree.Move("a/large", "b/new"))
			r.Tree.Publish()
			if c.set != nil {
				c.set(r)
			}
			p := r.complete()
			require.Equal(t, 1-c.taken, p.Fetched)
			require.Equal(t, c.taken, r.options.Counters.Taken.Load())
			require.Equal(t, c.sums, r.asked("sums") > 0)
			require.Equal(t, "a/ a/f b/ b/f b/new", r.paths())
		})
	}
}

// Progress tells how much is to be fetched.
func TestProgressKnowsWhatIsWanted(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		r.write("a/g a/h")
		var last Progress
		r.options.Progress = func(p Progress) { last = p }
		r.complete()
		require.Equal(t, int64(2), last.WantFiles)
		require.Equal(t, last.Bytes, last.WantBytes)
		require.Equal(t, int64(17), last.WantBytes)
		require.True(t, last.Done)
	})
}
