package pass

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// What deletions add to the counts of a pass: what is deleted with all below it, and names
// that something else got.
func TestWhatDeletionsCount(t *testing.T) {
	simulate(t, "", "a/f a/d/x a/d/e/y a/g d/x old", func(t *testing.T, r *rig) {
		r.remove("a/d a/g d old")
		r.write("d f")
		r.options.Jobs = 2
		p := r.complete()
		require.Equal(t, "a/ a/f d f", r.paths())
		require.Equal(t, int64(8), p.Deleted)
		require.Equal(t, int64(8), r.options.Counters.Deleted.Load())
		require.Equal(t, int64(2), p.Made)
		require.Equal(t, int64(3+3+3+1), p.Seen, "in the root and in a; below a/d and d")
		require.Equal(t, int64(4), r.replica.CountAll())
		require.Equal(t, int64(4), r.replica.Counters().Entries)
		require.True(t, p.Changed)
		require.Equal(t, int64(8), r.recent())
	})
}

// recent counts what the guard of --max-delete remembers of the last minutes.
func (r *rig) recent() (n int64) {
	for _, minute := range r.replica.Status().Deletions.Recent {
		n += minute[1]
	}
	return n
}

// No directory gets its stamp while something waits to be deleted in it, also if the pass
// commits after each deletion.
func TestDeletionsComeBeforeTheStamp(t *testing.T) {
	simulate(t, "", "a/x b/y", func(t *testing.T, r *rig) {
		r.remove("a/x b/y")
		r.options.CommitFiles = 1
		r.complete()
		stamps := 0
		for _, call := range r.Calls {
			if call == "utimes a" || call == "utimes b" {
				stamps++
			}
		}
		require.Equal(t, 2, stamps)
	})
}

// The base of --max-delete after a full walk was what the source listed, without what is below
// directories that the copy keeps though no listing names them, or that the source may not
// read: of a copy of 167 entries of which serve excluded most, 98 went without a release, since
// they were few. What is counted is counted once, and nothing if there are none.
func TestTheCountOfWhatIsKept(t *testing.T) {
	hideDots := func(path string, l *source.Dir) {
		for i := range l.Entries {
			if l.Entries[i].Name == ".dots" {
				l.Entries, l.Hidden = slices.Delete(l.Entries, i, i+1), 1
				return
			}
		}
	}
	for name, change := range map[string]func(r *rig){
		"nothing":                func(*rig) {},
		"excluded by serve":      func(r *rig) { r.Tree.Exclude("some") },
		"a mount covers it":      func(r *rig) { r.Tree.Mount("a/some") },
		"hidden dotfiles":        func(r *rig) { r.show = hideDots },
		"the source may not":     func(r *rig) { r.Tree.Deny("a/some"); r.Tree.Publish() },
		"nothing is deleted":     func(r *rig) { r.env.NoDelete = true; r.remove("a/some") },
		"everything of it again": func(r *rig) { r.Tree.Exclude("some"); r.full(); r.Tree.Exclude("some") },
	} {
		simulate(t, name, "a/f a/some/x a/some/d/y a/some/d/z .dots/x .dots/d/y b/g", func(t *testing.T, r *rig) {
			change(r)
			p := r.full()
			require.True(t, p.Complete, r.log.String())
			require.EqualValues(t, 13, r.replica.CountAll())
			require.EqualValues(t, 13, p.Seen)
			require.EqualValues(t, 13, r.replica.Counters().Entries)
			require.EqualValues(t, 13, r.replica.Status().Deletions.Base)
			r.full()
			for dir, most := range map[string]int{"b": 2, "some": 4, ".dots": 4} {
				n := r.count("list " + dir)
				require.True(t, n == 2 || n == most, "%s is read once, and once for its records: all of it, and the end: %d", dir, n)
			}
		})
	}
}

// Deletions that somebody released do not count for --max-delete.
func TestReleasedDeletionsDoNotCountForTheLimit(t *testing.T) {
	simulate(t, "", "f a/f a/old1 b/f b/old2", func(t *testing.T, r *rig) {
		r.remove("a/old1")
		r.options.HoldAll = "a reason"
		require.Equal(t, int64(1), r.pass().Held)
		r.options.HoldAll = ""
		r.release()
		r.remove("b/old2")
		p := r.complete()
		require.Equal(t, int64(2), p.Deleted)
		require.Equal(t, int64(1), r.recent())
	})
}

// A directory in which entries were deleted changed, and is flushed, also if nothing else
// happened there.
func TestADirectoryWithDeletionsIsFlushed(t *testing.T) {
	simulate(t, "", "a/f a/old f", func(t *testing.T, r *rig) {
		r.remove("a/old")
		p := r.complete()
		require.True(t, p.Changed)
		require.Equal(t, int64(1), p.Deleted)
		require.Equal(t, 1, r.Made("fsync a"))
	})
}

// A file that could not be deleted counted as deleted: the user read "deleted 1 ... failed 1",
// and with each pass the copy was counted smaller, so that --max-delete allowed less.
func TestADeletionThatFailsIsNotCounted(t *testing.T) {
	simulate(t, "", "a/f a/old f", func(t *testing.T, r *rig) {
		r.remove("a/old")
		r.Refuse("unlink old", unix.EIO, 2)
		for range 2 {
			p := r.pass()
			require.Zero(t, p.Deleted)
			require.False(t, p.Changed)
			require.False(t, p.Complete)
			require.Equal(t, int64(1), p.Failed)
			require.ErrorIs(t, p.Errs[0], unix.EIO)
			require.ErrorContains(t, p.Errs[0], "a/old")
			require.Equal(t, "/ a/", r.behind())
			require.Equal(t, int64(4), r.replica.Counters().Entries)
		}
		require.Equal(t, int64(1), r.complete().Deleted)
		require.Equal(t, int64(3), r.replica.Counters().Entries)
	})
}

// What was not copied in a directory is forgotten with it, and with one above it.
func TestWhatIsNotCopiedGoesWithItsDirectory(t *testing.T) {
	simulate(t, "", "a/b/f c/f d/f f", func(t *testing.T, r *rig) {
		r.env.NoLinks = true
		for _, dir := range []string{"a/b", "c", "d"} {
			require.True(t, r.Tree.Link(dir+"/link"))
		}
		r.Tree.Publish()
		r.complete()
		require.Equal(t, replica.Uncopied{"a/b": 1, "c": 1, "d": 1}, r.replica.Uncopied())
		require.NoError(t, r.Shell.Write("/copy/old", "x"))
		r.remove("a c")
		p := r.complete()
		require.Equal(t, replica.Uncopied{"d": 1}, r.replica.Uncopied())
		for path, is := range map[string]bool{"a": true, "a/b": true, "c": true, "d": false, "old": false, "": false} {
			require.Equal(t, is, p.IsDeleted(path), path)
		}
		r.remove("d/link")
		r.complete()
		require.Empty(t, r.replica.Uncopied())
	})
}

// What an ordinary user may not count counted as one entry: a directory of another user whose
// rights it lacks, with thousands below it, was within each --max-delete. Nothing next to it is
// deleted, either, and the failure names it. What the user may make accessible is counted, and
// gets its mode back.
func TestWhatNobodyMayCountStays(t *testing.T) {
	for name, mode := range map[string]uint32{"not read": 0o711, "not entered": 0o744, "neither": 0o700} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1000)
			r.write("f a/f a/old/f a/old/d/x a/old/d/y")
			r.complete()
			require.NoError(t, r.Shell.Mkdir("/copy/a/old/root", 0o755))
			for _, file := range []string{"1", "2", "3"} {
				require.NoError(t, r.Shell.Write("/copy/a/old/root/"+file, "x"))
			}
			require.NoError(t, r.Shell.Chmod("/copy/a/old/root", mode))
			was := r.paths()
			r.remove("a/old")
			for range 2 {
				p := r.pass()
				require.Zero(t, p.Deleted, name)
				require.Equal(t, int64(1), p.Failed, name)
				require.ErrorIs(t, p.Errs[0], unix.EACCES, name)
				require.ErrorContains(t, p.Errs[0], "a/old", name)
				require.Equal(t, was, r.paths(), name)
			}
			require.NoError(t, r.Shell.Chown("/copy/a/old/root", 1000))
			require.NoError(t, r.Shell.Chmod("/copy/a/old/root", mode&^0o700))
			require.NoError(t, r.Shell.Chmod("/copy/a/old/d", 0o311))
			r.limit("8")
			r.requireHeld("a/old", "9 of 8 entries would go, --max-delete is 8")
			old, err := r.replica.Dir("a/old")
			require.NoError(t, err)
			for dir, want := range map[string]uint32{"root": mode &^ 0o700, "d": 0o311} {
				info, err := old.Stat(dir)
				require.NoError(t, err)
				require.Equal(t, want, info.Mode, name)
			}
			require.NoError(t, old.Close())
			r.limit("9")
			require.Equal(t, int64(9), r.complete().Deleted, name)
		})
	}
}
