package pass

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// later is a stamp that no directory of a copy has.
var later = mtree.Unix(5_000_000_000, 7)

// begun returns a pass that visited these directories of the copy, which are complete but for
// the stamp later, with the root at the end.
func (r *rig) begun(paths ...string) *pass {
	r.t.Helper()
	root, err := r.Root(r.ctx, source.Poll{})
	require.NoError(r.t, err)
	r.env.Root = &root
	p := newPass(&r.env, &r.options)
	top := &node{}
	for _, path := range append(paths, "") {
		n := top
		if path != "" {
			n = &node{parent: top}
		}
		n.Path, n.visited, n.had = path, true, true
		n.before, _ = r.record(path)
		n.Record = n.before
		n.Record.Stamp = later
		p.ready = append(p.ready, n)
	}
	r.Calls = nil
	return p
}

// stamped returns those of the directories that have the stamp later.
func (r *rig) stamped() string {
	var all []string
	for _, path := range append([]string{"/"}, strings.Fields(r.paths())...) {
		if !strings.HasSuffix(path, "/") {
			continue
		}
		if record, complete := r.record(strings.TrimSuffix(path, "/")); complete && record.Stamp == later {
			all = append(all, path)
		}
	}
	return strings.Join(all, " ")
}

// A pass commits in between once enough files were written and directories are ready, or some
// time after the last commit if it wrote a file.
func TestWhenAPassCommitsInBetween(t *testing.T) {
	for _, c := range []struct {
		written int
		ready   bool
		after   time.Duration
		commits bool
	}{
		{0, false, time.Hour, false},
		{0, true, time.Hour, false},
		{1, false, commitEvery - 1, false},
		{1, false, commitEvery, true},
		{1, true, 0, false},
		{2, true, 0, true},
		{3, false, 0, true},
		{2, false, 0, false},
	} {
		simulate(t, fmt.Sprint(c), "a/f", func(t *testing.T, r *rig) {
			r.options.CommitFiles = 3
			p := r.begun()
			p.written = c.written
			if !c.ready {
				p.ready = nil
			}
			<-time.After(c.after)
			p.commitInBetween(r.ctx)
			require.Equal(t, c.commits, p.committed.Equal(time.Now()) && p.written == 0)
			require.Equal(t, c.commits && c.ready, r.stamped() == "/")
			require.Equal(t, c.ready && !c.commits, len(p.ready) > 0)
		})
	}
}

// A pass that was stopped does not wait for a long flush: of many files, or of what an earlier
// mirror wrote. It leaves what is ready incomplete then.
func TestTheLastCommitOfAPass(t *testing.T) {
	for _, c := range []struct {
		stopped   bool
		written   int
		unflushed bool
		commits   bool
	}{
		{false, 0, false, true},
		{false, fewSyncs + 1, true, true},
		{true, 0, false, true},
		{true, fewSyncs, false, true},
		{true, fewSyncs + 1, false, false},
		{true, 0, true, false},
	} {
		simulate(t, fmt.Sprint(c), "a/f", func(t *testing.T, r *rig) {
			flushes := 0
			r.replica.Flush = func() error { flushes++; return nil }
			r.options.Memory.flushed = false
			p := r.begun("a")
			p.ready[0].unflushed = c.unflushed
			p.touch("a", make([]string, c.written)...)
			ctx, stop := context.WithCancel(r.ctx)
			if c.stopped {
				stop()
			}
			defer stop()
			require.NoError(t, p.lastCommit(ctx))
			if c.commits {
				require.Equal(t, "/ a/", r.stamped())
				require.Empty(t, p.incomplete)
			} else {
				require.Empty(t, r.stamped())
				require.Len(t, p.incomplete, 2)
				require.Zero(t, flushes)
			}
		})
	}
}

// What a flush that is the last step of a pass finds ends the pass with its error.
func TestTheLastFlushFails(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		p := r.begun("a")
		p.touch("a")
		r.Refuse("fsync a", unix.EIO, 1)
		err := p.lastCommit(r.ctx)
		require.ErrorIs(t, err, ErrFlush)
		require.ErrorIs(t, err, unix.EIO)
		require.Equal(t, exit.Local, exit.Of(err))
		require.Empty(t, r.stamped())
		require.Len(t, p.incomplete, 2)
		require.True(t, p.ready == nil && p.incomplete[1].blocked)
	})
}

// Steps that were under way when a flush failed completed a directory in which files were no
// longer trusted, and the last commit of the pass stamped it.
func TestNothingIsStampedAfterAFailedFlush(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		p := r.begun("a", "b")
		late := p.ready[1:]
		p.ready = p.ready[:1]
		p.touch("a")
		p.touch("b", "f")
		r.Refuse("fsync a", unix.EIO, 1)
		require.ErrorIs(t, p.commit(r.ctx), ErrFlush)
		p.ready = late
		require.NoError(t, p.lastCommit(r.ctx), "it was told")
		require.Empty(t, r.stamped())
		require.Len(t, p.incomplete, 3)
	})
}

// A flush that fails in between ends the pass; it is not tried again for the same files.
func TestAFlushInBetweenFails(t *testing.T) {
	simulate(t, "", "a/f b/f", func(t *testing.T, r *rig) {
		r.options.CommitFiles = 1
		r.options.Last = last(t, "g")
		r.write("a/g b/g")
		r.Refuse("fsync a", unix.EIO, 1)
		p, err := r.try()
		require.ErrorIs(t, err, ErrFlush)
		require.False(t, p.Complete)
		require.Equal(t, "/ a/", r.behind())
		n := 0
		for _, call := range r.Calls {
			if call == "fsync a" {
				n++
			}
		}
		require.Equal(t, 1, n)
		require.Equal(t, int64(1), r.complete().Fetched)
	})
}

// A pass that was stopped stamps for a moment, and marks the others incomplete.
func TestAStoppedPassStampsForAMoment(t *testing.T) {
	for stopped, want := range map[bool]string{true: "a/ b/ c/", false: "/ a/ b/ c/ d/ e/"} {
		simulate(t, fmt.Sprint(stopped), "a/f b/f c/f d/f e/f", func(t *testing.T, r *rig) {
			p := r.begun("a", "b", "c", "d", "e")
			ctx, stop := context.WithCancel(r.ctx)
			if stopped {
				stop()
			}
			defer stop()
			r.Fail = func(call string) error {
				if strings.HasPrefix(call, "utimes ") {
					<-time.After(stopPatience / 2)
				}
				return nil
			}
			<-time.After(time.Hour)
			require.NoError(t, p.commit(ctx))
			require.Equal(t, want, r.stamped())
			require.Equal(t, stopped, len(p.incomplete) == 3)
		})
	}
}

// A directory that cannot get its stamp leaves all above it incomplete, and not those beside it.
func TestAStampThatFails(t *testing.T) {
	for _, call := range []string{"utimes a", "setxattr a", "open a", "statx a"} {
		simulate(t, call, "a/f b/f", func(t *testing.T, r *rig) {
			p := r.begun("a", "b")
			r.Refuse(call, unix.EIO, 2)
			require.NoError(t, p.commit(r.ctx))
			r.Fail = nil
			require.Equal(t, "b/", r.stamped())
			require.Len(t, p.incomplete, 2)
			require.Equal(t, int64(1), p.result.Failed)
			require.ErrorContains(t, p.result.Errs[0], `"a": `)
			require.True(t, replica.IsLocal(p.result.Errs[0]))
			require.True(t, p.incomplete[0].blocked && p.incomplete[1].blocked)
			require.Equal(t, 0, strings.Count(strings.Join(r.Calls, " "), "utimes copy"))
		})
	}
}

// What a commit flushes: the files that were written and their directories, one by one if they
// are few; everything there is if they are many, or if an earlier mirror may have left something.
func TestWhatIsFlushed(t *testing.T) {
	for name, c := range map[string]struct {
		files         int // in a
		all, no       bool
		one           bool // by one
		everything    bool
		remembers     bool
		wasRemembered bool
		fails         bool
	}{
		"nothing":                       {},
		"a directory":                   {files: 0, one: true},
		"few":                           {files: fewSyncs - 1, one: true},
		"many":                          {files: fewSyncs, everything: true, remembers: true},
		"what an earlier mirror left":   {all: true, everything: true, remembers: true},
		"few, and that":                 {files: 1, all: true, everything: true, remembers: true},
		"many, without a flush":         {files: fewSyncs, no: true},
		"without a flush":               {all: true, no: true},
		"it fails":                      {all: true, everything: true, fails: true, wasRemembered: true},
		"few, which says nothing of it": {files: 1, one: true, wasRemembered: true, remembers: true},
	} {
		var files []string
		for i := range fewSyncs {
			files = append(files, "a/f"+letters(i))
		}
		simulate(t, name, strings.Join(files, " "), func(t *testing.T, r *rig) {
			everything := 0
			r.replica.Flush = func() error {
				everything++
				if c.fails {
					return unix.EIO
				}
				return nil
			}
			r.options.Memory.flushed, r.options.NoFlush = c.wasRemembered, c.no
			p := r.begun("a")
			if c.one || c.files > 0 {
				p.touch("a")
				for i := range c.files {
					p.touched[0].names = append(p.touched[0].names, "f"+letters(i))
				}
			}
			err := p.flush(c.all)
			require.Equal(t, c.fails, err != nil)
			require.Equal(t, c.remembers, r.options.Memory.flushed)
			require.Equal(t, c.everything, everything == 1)
			single := 0
			if c.one {
				single = c.files + 1
			}
			require.Equal(t, single, r.Made("fsync"))
			require.NoError(t, p.flush(false))
			require.Zero(t, r.Made("fsync"), "it is flushed once")
			require.Equal(t, c.everything, everything == 1)
		})
	}
}

// Which directories may have files that an earlier mirror wrote and did not flush.
func TestWhatMayBeUnflushed(t *testing.T) {
	sound, lost, blocked := &node{}, &node{unflushed: true}, &node{unflushed: true}
	blocked.blocked = true
	for _, c := range []struct {
		flushed bool
		nodes   []*node
		want    bool
	}{
		{false, nil, false},
		{false, []*node{sound}, false},
		{false, []*node{sound, lost}, true},
		{true, []*node{sound, lost}, false},
		{false, []*node{sound, blocked}, false},
	} {
		p := &pass{options: &Options{Memory: &Memory{flushed: c.flushed}}}
		require.Equal(t, c.want, p.unflushed(c.nodes))
	}
}

// One by one: a directory that is gone needs no flush; what its owner may not open is flushed
// with everything; any other error is one of the flush.
func TestFlushingOneByOne(t *testing.T) {
	for name, c := range map[string]struct {
		call       string
		errno      unix.Errno
		everything error // of flushing everything
		err        error
		flushes    int
	}{
		"it is flushed":            {},
		"a directory is gone":      {call: "open a", errno: unix.ENOENT},
		"a directory fails":        {call: "open a", errno: unix.EIO, err: unix.EIO},
		"a file fails":             {call: "fsync f", errno: unix.EIO, err: unix.EIO},
		"its directory fails":      {call: "fsync a", errno: unix.EIO, err: unix.EIO},
		"a file is denied":         {call: "open f", errno: unix.EACCES, flushes: 1},
		"denied, and it fails":     {call: "open f", errno: unix.EACCES, everything: unix.EIO, err: unix.EIO, flushes: 1},
		"a file is gone":           {call: "open f", errno: unix.ENOENT},
		"the second file is sound": {call: "fsync f", errno: unix.ENOSPC, err: unix.ENOSPC},
	} {
		simulate(t, name, "a/f a/g b/f", func(t *testing.T, r *rig) {
			flushes := 0
			r.replica.Flush = func() error { flushes++; return c.everything }
			p := r.begun("a", "b")
			p.touch("a", "f", "g")
			p.touch("b")
			r.Refuse(c.call, c.errno, 1)
			require.ErrorIs(t, p.flush(false), c.err)
			require.Equal(t, c.flushes, flushes)
			if c.err == nil && flushes == 0 {
				require.Contains(t, r.Calls, "fsync b")
			}
		})
	}
}

// After a flush that failed, no file is trusted that was written since the last good one; nor
// is one that an earlier mirror may have written. Directories and other files stay.
func TestWhatIsDoubtedAfterAFlush(t *testing.T) {
	for name, c := range map[string]struct {
		unflushed bool // a was unfinished
		flushed   bool // since this mirror started
		doubted   string
	}{
		"complete before":         {false, false, "a/f"},
		"unfinished before":       {true, false, "a/f a/g"},
		"unfinished, but flushed": {true, true, "a/f"},
	} {
		simulate(t, name, "a/f a/g a/d/h b/f gone/f", func(t *testing.T, r *rig) {
			p := r.begun("gone", "a", "b")
			p.ready[0].unflushed, p.ready[1].unflushed = true, c.unflushed
			p.touch("gone", "f")
			p.touch("a", "f", "missing", "d")
			require.NoError(t, r.Shell.Remove("/copy/gone/f"))
			require.NoError(t, r.Shell.Remove("/copy/gone"))
			r.options.Memory.flushed = c.flushed
			p.distrust(p.ready)
			var doubted []string
			for path := range strings.FieldsSeq(r.paths()) {
				mtime, _, err := r.Shell.Times("/copy/" + path)
				require.NoError(t, err)
				if mtree.Unix(mtime.Unix(), int64(mtime.Nanosecond())) == replica.Doubtful {
					doubted = append(doubted, path)
				}
			}
			require.Equal(t, c.doubted, strings.Join(doubted, " "))
			require.Empty(t, p.touched)
		})
	}
}

// A file system that keeps no times before some date gave a doubted file of that time, or of before,
// the time that it should have: what a failed flush lost stayed trusted. No sums show it.
func TestWhatIsDoubtedWhereNoTimeIsThatOld(t *testing.T) {
	bubble(t, "", func(t *testing.T, r *rig) {
		r.Machine.First = 920_000_000
		r.replica.Close()
		r.open(replica.Options{})
		require.Equal(t, mtree.Unix(920_000_000, 0), r.replica.Times.Min)
		r.write("d/g")
		r.complete()
		require.True(t, r.Tree.WriteOld("d/f"))
		r.Tree.Publish()
		r.Refuse("fsync d", unix.EIO, 1)
		_, err := r.try()
		require.ErrorIs(t, err, ErrFlush)
		require.Equal(t, int64(1), r.complete().Fetched)
	})
}

// A doubted file that has another name keeps its time, for that name may be outside of the copy. It
// is compared by its sum.
func TestADoubtedFileWithAnotherName(t *testing.T) {
	simulate(t, "", "a/f a/g", func(t *testing.T, r *rig) {
		r.write("a/f")
		versions := r.Tree.Past("a/f")
		listed := versions[len(versions)-1]
		linked := false
		r.Fail = func(call string) error {
			if call != "fsync a" || linked {
				return nil
			}
			linked = true
			require.NoError(t, r.Shell.Link("/copy/a/f", "/snapshot"))
			return unix.EIO
		}
		_, err := r.try()
		require.ErrorIs(t, err, ErrFlush)
		r.Fail = nil
		record, _ := r.record("a")
		doubts, begun := replica.DoubtsOf(record)
		require.True(t, begun)
		require.Equal(t, replica.DoubtBytes, doubts)
		r.spoil("a/f")
		require.Equal(t, int64(1), r.complete().Fetched)
		require.Equal(t, listed.Text, r.text("a/f"))
		mtime, _, err := r.Shell.Times("/snapshot")
		require.NoError(t, err)
		require.Equal(t, listed.MTime, mtree.FromTime(mtime))
		text, err := r.Shell.Read("/snapshot")
		require.NoError(t, err)
		require.NotEqual(t, listed.Text, text, "what is outside of the copy stays as it is")
	})
}

// What cannot be marked is told.
func TestWhatCannotBeDoubted(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		p := r.begun("a")
		p.touch("a", "f")
		r.Fail = func(call string) error {
			if call == "utimes f" || call == "setxattr a" {
				return unix.EIO
			}
			return nil
		}
		p.distrust(p.ready)
		require.Contains(t, r.log.String(), "could not be marked")
		require.Contains(t, r.log.String(), "--verify --repair")
	})
}

// What is not published by the source, because its watch may not read it, is written down
// before anything above is stamped.
func TestTheUnreadAreWrittenFirst(t *testing.T) {
	simulate(t, "", "a/b/f c/f", func(t *testing.T, r *rig) {
		r.Tree.Deny("a/b")
		r.Tree.Mkdir("a/b/d")
		r.write("a/new/f")
		r.Tree.Deny("a/new")
		r.Tree.Publish()
		r.Refuse("write .unread.new", unix.EIO, 1)
		p, err := r.try()
		require.ErrorIs(t, err, unix.EIO)
		require.Equal(t, exit.Local, exit.Of(err))
		require.False(t, p.Complete)
		require.NotEmpty(t, p.Retry)
		require.Contains(t, r.behind(), "/ a/")
		require.True(t, r.pass().Complete)
	})
}
