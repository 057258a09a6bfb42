package replica

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// measured returns the deletion of an entry of the copy, and whether it stays.
func (k *faulty) measured(r *Replica, path string) (*disk.Dir, Deletion, bool) {
	k.t.Helper()
	dir := k.dir(r, mtree.ParentPath(path))
	info, err := dir.Stat(mtree.BaseName(path))
	require.NoError(k.t, err)
	d, stays, err := r.Measure(dir, path, info.Kind, info.MTime)
	require.NoError(k.t, err)
	require.Equal(k.t, Deletion{Path: path, Kind: info.Kind, MTime: info.MTime, Entries: d.Entries, Why: d.Why}, d)
	return dir, d, stays
}

// excluded returns filters.
func excluded(t *testing.T, rules ...string) *glob.List {
	filters, err := glob.New(rules)
	require.NoError(t, err)
	return filters
}

// names returns the paths below a directory of the copy, without the marker.
func (k *faulty) names(path string) (all []string) {
	for _, name := range k.Shell.Names("/copy" + path) {
		if name != mtree.MarkerName || path != "" {
			all = append(all, path+"/"+name)
			all = append(all, k.names(path+"/"+name)...)
		}
	}
	slices.Sort(all)
	return all
}

// What a deletion takes away, and what it leaves.
func TestADeletion(t *testing.T) {
	for name, c := range map[string]struct {
		make    []string
		exclude string
		delete  string
		entries int64
		why     string
		stays   bool
		left    []string
	}{
		"a file":                   {make: []string{"f", "g"}, delete: "f", entries: 1, left: []string{"/g"}},
		"a directory":              {make: []string{"d/", "d/a", "d/b/", "d/b/c", "g"}, delete: "d", entries: 4, left: []string{"/g"}},
		"a tree of somebody":       {make: []string{"d/", "d/.tidemark/", "d/a"}, delete: "d", entries: 2, why: WhyTree},
		"a tree below":             {make: []string{"d/", "d/e/", "d/e/.tidemark/", "d/e/a"}, delete: "d", entries: 3, why: WhyTree},
		"a file, with filters":     {make: []string{"f", "x"}, exclude: "- x", delete: "f", entries: 1, left: []string{"/x"}},
		"nothing excluded in it":   {make: []string{"d/", "d/a", "d/e/"}, exclude: "- x", delete: "d", entries: 3},
		"with something excluded":  {make: []string{"d/", "d/a", "d/x", "d/e/", "d/e/b"}, exclude: "- x", delete: "d", entries: 3, stays: true, left: []string{"/d", "/d/x"}},
		"by its path":              {make: []string{"d/", "d/e/", "d/e/x", "d/x"}, exclude: "- /d/e/x", delete: "d", entries: 1, stays: true, left: []string{"/d", "/d/e", "/d/e/x"}},
		"a tree, and an exclusion": {make: []string{"d/", "d/x", "d/t/", "d/t/.tidemark/", "d/t/a"}, exclude: "- x", delete: "d", entries: 2, why: WhyTree, stays: true, left: []string{"/d", "/d/x"}},
	} {
		keptOrNot(t, func(t *testing.T, k *faulty, r *Replica) {
			k.tree(c.make...)
			if c.exclude != "" {
				r.Filters = excluded(t, c.exclude)
			}
			dir, d, stays := k.measured(r, c.delete)
			require.Equal(t, c.entries, d.Entries, name)
			require.Equal(t, c.why, d.Why, name)
			require.Equal(t, c.stays, stays, name)
			require.False(t, d.IsReplacement())
			if d.Why == WhyTree {
				allowed := d.Why
				d.Why = "another reason"
				_, _, err := r.Delete(dir, &d)
				require.ErrorContains(t, err, ".tidemark", "%s: a tree is deleted only if that was allowed", name)
				require.Contains(t, k.names(""), "/"+c.delete)
				d.Why = allowed
			}
			was := k.names("")
			entries, replaced, err := r.Delete(dir, &d)
			require.NoError(t, err, name)
			require.False(t, replaced)
			require.Equal(t, c.left, k.names(""), name)
			if c.why == "" {
				require.EqualValues(t, len(was)-len(c.left), entries, name)
				require.Equal(t, c.entries, entries, name)
			}
			require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"), name)
			k.requireKept(r, slices.DeleteFunc(was, func(path string) bool { return slices.Contains(c.left, path) }))
		})
	}
}

// A directory that its owner may not look into is counted with all in it, and looks as before; a dry run
// changes nothing.
func TestADeletionOfWhatIsClosed(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 1000)
	r := k.replica()
	require.NoError(t, k.Mkdirat(r.Root.FD(), "d", 0o755))
	require.NoError(t, k.dir(r, "d").MakeFile("f"))
	require.NoError(t, r.Root.ChmodEntry("d", 0))
	_, d, _ := k.measured(r, "d")
	require.EqualValues(t, 2, d.Entries)
	info, err := r.Root.Stat("d")
	require.NoError(t, err)
	require.Zero(t, info.Mode)
	r.ReadOnly = true
	k.Made("")
	_, d, _ = k.measured(r, "d")
	require.EqualValues(t, 1, d.Entries)
	require.Zero(t, k.Made("chmod"))
}

// What is gone already counts as deleted, and is no error.
func TestADeletionOfWhatIsGone(t *testing.T) {
	for _, c := range []struct {
		exclude string
		path    string
		entries int64
		kept    int64 // with a backup directory
	}{{"", "f", 1, 1}, {"", "d", 3, 3}, {"- x", "d", 0, 3}, {"- x", "f", 1, 1}} {
		keptOrNot(t, func(t *testing.T, k *faulty, r *Replica) {
			k.tree("f", "d/", "d/a", "d/b")
			if c.exclude != "" {
				r.Filters = excluded(t, c.exclude)
			}
			dir, d, _ := k.measured(r, c.path)
			require.NoError(t, k.Shell.Remove("/copy/"+c.path))
			entries, replaced, err := r.Delete(dir, &d)
			require.NoError(t, err)
			require.False(t, replaced)
			if r.Backup == nil {
				require.Equal(t, c.entries, entries)
			} else {
				require.Equal(t, c.kept, entries)
			}
		})
	}
}

// A directory that had taken the name of a file since the file was compared was deleted
// with all in it, what filters exclude included. Nobody had counted that.
func TestADirectoryInPlaceOfTheFile(t *testing.T) {
	for _, exclude := range []string{"", "- x"} {
		keptOrNot(t, func(t *testing.T, k *faulty, r *Replica) {
			k.tree("f")
			if exclude != "" {
				r.Filters = excluded(t, exclude)
			}
			dir, d, _ := k.measured(r, "f")
			require.NoError(t, k.Shell.Remove("/copy/f"))
			k.tree("f/", "f/x", "f/y")
			_, replaced, err := r.Delete(dir, &d)
			require.ErrorContains(t, err, "is a directory")
			require.False(t, replaced)
			require.Equal(t, []string{"/f", "/f/x", "/f/y"}, k.names(""))
		})
	}
}

// A directory goes as a whole or not at all, whatever fails; where it cannot be moved
// away, it goes piece by piece.
func TestADeletionThatFails(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a", "d/b", "f")
	dir, d, _ := k.measured(r, "d")
	k.Refuse("unlink b", unix.EIO, 1)
	_, _, err := r.Delete(dir, &d)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, []string{"/d", "/d/b", "/f"}, k.names(""), "what is left has its name again")
	require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))

	gone := 0
	k.Fail = func(call string) error {
		switch call {
		case "unlink b":
			return unix.EIO
		case "rename d":
			gone++
			return unix.ENOSPC
		}
		return nil
	}
	_, _, err = r.Delete(dir, &d)
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorIs(t, err, unix.ENOSPC, "where it is now is told, too")
	require.Equal(t, 1, gone)

	k, r = simulated(t)
	k.tree("d/", "d/a", "d/b", "f")
	dir, d, _ = k.measured(r, "d")
	k.Fail = func(call string) error {
		if call == "rename 2" || call == "rename 1" {
			return unix.EXDEV
		}
		return nil
	}
	entries, _, err := r.Delete(dir, &d)
	require.NoError(t, err)
	require.EqualValues(t, 3, entries)
	require.Equal(t, []string{"/f"}, k.names(""))

	dir, d, _ = k.measured(r, "f")
	k.Refuse("unlink f", unix.EIO, 1)
	_, _, err = r.Delete(dir, &d)
	require.ErrorIs(t, err, unix.EIO)

	k.tree("d/", "d/a", "d/x")
	r.Filters = excluded(t, "- x")
	dir, d, _ = k.measured(r, "d")
	k.Refuse("unlink a", unix.EIO, 1)
	_, _, err = r.Delete(dir, &d)
	require.ErrorIs(t, err, unix.EIO)
}

// What cannot be put into the backup directory stays, and is told.
func TestADeletionThatCannotBeKept(t *testing.T) {
	for _, call := range []string{"statx d", "rename d"} {
		k, r := kept(t, true)
		k.tree("d/", "d/a")
		dir, d, _ := k.measured(r, "d")
		k.Refuse(call, unix.EIO, 1)
		entries, replaced, err := r.Delete(dir, &d)
		require.ErrorIs(t, err, unix.EIO, call)
		require.False(t, replaced, call)
		require.Zero(t, entries, call)
		require.Equal(t, []string{"/d", "/d/a"}, k.names(""), call)
	}
}

// A directory that stays for what filters exclude in it is complete: nothing else would
// ever complete it.
func TestADirectoryThatStaysIsComplete(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a", "d/x", "d/e/", "d/e/x")
	r.Filters = excluded(t, "- x")
	for _, path := range []string{"", "d", "d/e"} {
		require.NoError(t, r.SetRecord(k.dir(r, path), path, unfinished(1, DoubtBytes)))
	}
	dir, d, _ := k.measured(r, "d")
	from := r.Now()
	_, _, err := r.Delete(dir, &d)
	require.NoError(t, err)
	for _, path := range []string{"d", "d/e"} {
		record, known := k.record(r, path)
		require.True(t, known)
		info, err := k.dir(r, path).Self()
		require.NoError(t, err)
		require.Equal(t, info.MTime, record.Stamp)
		require.False(t, record.Stamp.Before(from))
		require.True(t, r.IsCompleted(record, info, record.Stamp))
	}
	for _, call := range []string{"setxattr e", "utimes e"} {
		k.Refuse(call, unix.EIO, 1)
		_, _, err := r.Delete(dir, &d)
		require.ErrorIs(t, err, unix.EIO, call)
	}
}

// A directory that its owner may not write to was never replaced by a file or a symlink, where
// mirror was not root: a pass failed for ever.
func TestAReplacementOfAReadOnlyDirectory(t *testing.T) {
	for _, mode := range []uint32{0, 0o555, 0o755} {
		k := newFaulty(t, simkernel.Options{}, 1000)
		r := k.replica()
		require.NoError(t, k.Mkdirat(r.Root.FD(), "d", 0o755))
		dir, d, _ := k.measured(r, "d")
		require.NoError(t, dir.ChmodEntry("d", mode))
		var err error
		d.Staged, err = r.Staging.Symlink("x")
		require.NoError(t, err)
		k.Refuse("chmod d", unix.EIO, -1)
		_, replaced, err := r.Delete(dir, &d)
		require.Equal(t, mode == 0o755, replaced)
		if !replaced {
			require.ErrorIs(t, err, unix.EACCES)
			k.Fail = nil
			_, replaced, err = r.Delete(dir, &d)
		}
		require.NoError(t, err)
		require.True(t, replaced)
		info, err := dir.Stat("d")
		require.NoError(t, err)
		require.Equal(t, mtree.Symlink, info.Kind)
	}
}

// A directory that cannot be deleted, nor get its name back, stays where it is staged, and the error
// says so. It was removed, tree and all.
func TestAReplacementThatCannotBeTakenBack(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a", "d/.tidemark/")
	dir, d, _ := k.measured(r, "d")
	var err error
	d.Staged, err = r.Staging.Symlink("x")
	require.NoError(t, err)
	d.Why = ""
	renames := 0
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, "rename ") {
			if renames++; renames == 2 {
				return unix.EIO
			}
		}
		return nil
	}
	_, replaced, err := r.Delete(dir, &d)
	require.True(t, replaced)
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorContains(t, err, ".tidemark")
	require.Equal(t, []string{d.Staged}, k.Shell.Names("/copy/.tidemark/tmp"))
	require.Contains(t, k.Shell.Names("/copy/.tidemark/tmp/"+d.Staged), "a")
}

// A directory that cannot be moved away is deleted where it is. It counted as deleted, and stayed.
func TestADirectoryThatCannotBeMovedAway(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a")
	dir, d, _ := k.measured(r, "d")
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, "rename ") {
			return unix.EXDEV
		}
		return nil
	}
	entries, replaced, err := r.Delete(dir, &d)
	require.NoError(t, err)
	require.False(t, replaced)
	require.EqualValues(t, 2, entries)
	require.Empty(t, k.names(""))
}

// What replaces a directory takes its name at once. It is removed if it is not wanted any
// more.
func TestAReplacement(t *testing.T) {
	for _, trees := range []bool{false, true} {
		keptOrNot(t, func(t *testing.T, k *faulty, r *Replica) {
			k.tree("d/", "d/a", "d/b")
			if trees {
				k.tree("d/.tidemark/")
			}
			dir, d, _ := k.measured(r, "d")
			staged, err := r.Staging.Symlink("x")
			require.NoError(t, err)
			d.Staged = staged
			require.True(t, d.IsReplacement())

			k.Refuse("rename d", unix.EIO, 1)
			_, replaced, err := r.Delete(dir, &d)
			require.ErrorIs(t, err, unix.EIO)
			require.False(t, replaced)
			require.Contains(t, k.names(""), "/d/a")

			why := d.Why
			d.Why = ""
			if trees {
				_, replaced, err = r.Delete(dir, &d)
				require.ErrorContains(t, err, ".tidemark")
				require.False(t, replaced)
				require.Contains(t, k.names(""), "/d/a", "it is put back")
				if r.Backup != nil {
					r.Abandon(&d)
				}
				require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))
				d.Staged, err = r.Staging.Symlink("x")
				require.NoError(t, err)
			}
			d.Why = why
			entries, replaced, err := r.Delete(dir, &d)
			require.NoError(t, err)
			require.True(t, replaced)
			require.EqualValues(t, 3, entries)
			require.Equal(t, []string{"/d"}, k.names(""))
			require.Equal(t, mtree.Symlink, k.entry(dir, "d").Kind)
			require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))
			k.requireKept(r, []string{"/d", "/d/a", "/d/b"})
		})
	}

	k, r := simulated(t)
	k.tree("d/")
	staged, err := r.Staging.Symlink("x")
	require.NoError(t, err)
	r.Abandon(&Deletion{Path: "d", Staged: staged})
	require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))
	(&Replica{}).Abandon(&Deletion{Path: "d"}) // of a dry run
}

// The entries of a copy are counted as far as they can be read, without what filters
// exclude. A directory that is excluded at the root had been counted with all in it, so
// that --max-delete let the whole rest go: it was a small part of that. Directories in which
// something is excluded were not counted themselves, unlike in a full walk.
func TestCountAll(t *testing.T) {
	k, r := simulated(t)
	k.tree("d/", "d/a", "d/e/", "d/e/x", "x/", "x/a", "x/b", "f", "y")
	require.EqualValues(t, 9, r.CountAll())
	k.Refuse("open e", unix.EIO, 1)
	require.Less(t, r.CountAll(), int64(9))
	r.Filters = excluded(t, "- x/", "- y/")
	require.EqualValues(t, 6, r.CountAll())
	r.Filters = excluded(t, "- a")
	require.EqualValues(t, 7, r.CountAll())
	require.EqualValues(t, 2, r.CountIn("d"))
	require.Zero(t, (&Replica{}).CountAll())
}

// Reasons of its own hold a deletion regardless of others. Sums count entries.
func TestReasons(t *testing.T) {
	for why, own := range map[string]bool{WhyTree: true, WhyEmptied: true, WhyStandIn: true, "": false, "too many": false} {
		require.Equal(t, own, (&Deletion{Why: why}).HasOwnReason(), why)
	}
	require.EqualValues(t, 7, CountDeletions([]Deletion{{Entries: 5}, {Entries: 2}}))
}
