package pass

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// limit sets --max-delete.
func (r *rig) limit(text string) {
	r.t.Helper()
	var err error
	r.options.Limit, err = gate.ParseLimit(text)
	require.NoError(r.t, err)
}

// tree makes a directory of the copy the root of another tree.
func (r *rig) tree(path string) {
	r.t.Helper()
	if !r.isDir(path) {
		require.NoError(r.t, r.Shell.Mkdir("/copy/"+path, 0o755))
	}
	require.NoError(r.t, r.Shell.Mkdir("/copy/"+path+"/.tidemark", 0o755))
}

// requireHeld runs a pass, which holds these deletions for that reason, and leaves their
// directories and all above incomplete.
func (r *rig) requireHeld(paths, why string) *Result {
	r.t.Helper()
	p := r.pass()
	held, is := r.held()
	require.Equal(r.t, paths, held)
	require.Equal(r.t, why, is)
	require.Equal(r.t, why, p.HeldWhy)
	require.Equal(r.t, paths == "", p.Complete)
	for path := range strings.FieldsSeq(paths) {
		require.Contains(r.t, r.paths(), path)
		for path != "" {
			path = mtree.ParentPath(path)
			require.Contains(r.t, " "+r.behind()+" ", " "+path+"/ ")
		}
	}
	return p
}

const (
	rootIsEmpty = "the source's root is empty"
	nothingLeft = "nothing would be left in the root"
	isFilling   = "the source is a copy that is not complete yet"
)

// Why all deletions of a pass are held, and which of several reasons is told.
func TestWhyDeletionsAreHeld(t *testing.T) {
	for name, c := range map[string]struct {
		have, remove, write string
		set                 func(r *rig)
		held, why           string
	}{
		"no reason":                   {have: "a/f a/old old", remove: "a/old old"},
		"the pass may delete nothing": {have: "a/f a/old", remove: "a/old", set: func(r *rig) { r.options.HoldAll = "a reason" }, held: "a/old", why: "a reason"},
		"the source is filled":        {have: "a/f a/old", remove: "a/old", set: func(r *rig) { r.Tree.State = wire.Filling }, held: "a/old", why: isFilling},
		"--max-delete":                {have: "a/f a/old b/old", remove: "a/old b/old", set: func(r *rig) { r.limit("1") }, held: "b/old a/old", why: "2 of 5 entries would go, --max-delete is 1"},
		"as many as --max-delete":     {have: "a/f a/old b/old", remove: "a/old b/old", set: func(r *rig) { r.limit("2") }},
		"the root is empty":           {have: "a/f b", remove: "a b", held: "b a", why: rootIsEmpty},
		"all of it was left out":      {have: "a b", remove: "a b", set: func(r *rig) { r.env.NoLinks = true; r.Tree.Link("l"); r.Tree.Publish() }, held: "b a", why: rootIsEmpty},
		"the rest could not be copied": {have: "a b", remove: "a b", write: "denied",
			set: func(r *rig) { r.lose(source.ErrDenied, "fetch /denied") }, held: "b a", why: nothingLeft},
		"some of it could not be copied": {have: "a b c", remove: "a b", write: "denied", set: func(r *rig) { r.lose(source.ErrDenied, "fetch /denied") }},
		"something else has the name":    {have: "d/f", remove: "d", write: "d"},
		"something else has a name":      {have: "d/f old", remove: "d old", write: "d"},
		"below the root":                 {have: "a/old", remove: "a/old"},
		"several": {have: "a b", remove: "a b", set: func(r *rig) {
			r.options.HoldAll, r.Tree.State = "a reason", wire.Filling
			r.limit("0")
		}, held: "b a", why: "a reason"},
		"empty and filling": {have: "a b", remove: "a b", set: func(r *rig) { r.Tree.State = wire.Filling; r.limit("0") }, held: "b a", why: rootIsEmpty},
		"nothing left, and filling": {have: "a b", remove: "a b", write: "denied", set: func(r *rig) {
			r.Tree.State = wire.Filling
			r.lose(source.ErrDenied, "fetch /denied")
		}, held: "b a", why: nothingLeft},
		"filling, and --max-delete": {have: "a/f a/old", remove: "a/old", set: func(r *rig) { r.Tree.State = wire.Filling; r.limit("0") }, held: "a/old", why: isFilling},
	} {
		simulate(t, name, c.have, func(t *testing.T, r *rig) {
			r.remove(c.remove)
			r.write(c.write)
			if c.set != nil {
				c.set(r)
			}
			p := r.pass()
			held, why := r.held()
			require.ElementsMatch(t, strings.Fields(c.held), strings.Fields(held))
			require.Equal(t, c.why, why)
			require.Equal(t, c.why, p.HeldWhy)
			require.Equal(t, c.held == "", p.Held == 0)
			for path := range strings.FieldsSeq(c.remove) {
				if c.held != "" || path != c.write {
					require.Equal(t, c.held != "", strings.Contains(" "+r.paths()+" ", " "+path), path)
				}
			}
		})
	}
}

// Entries that are none of a copy do not keep its root from being empty: a lost+found, and
// what filters exclude. With one of them, the last entry of the root had been deleted.
func TestTheLastEntryBesidesOthers(t *testing.T) {
	for other, why := range map[string]string{"lost+found": nothingLeft, "mine": nothingLeft, "others": ""} {
		simulate(t, other, "a denied", func(t *testing.T, r *rig) {
			require.NoError(t, r.Shell.Mkdir("/copy/"+other, 0o755))
			require.NoError(t, r.Shell.Remove("/copy/denied"))
			r.env.Filters = last(t, "mine")
			if why == "" {
				r.Tree.Mkdir(other)
			}
			r.remove("a")
			r.lose(source.ErrDenied, "fetch /denied")
			p := r.full()
			require.Equal(t, why, p.HeldWhy)
			require.Equal(t, why != "", strings.HasPrefix(r.paths(), "a"))
		})
	}
}

// If it cannot be read what would be left in the root, nothing may be left.
func TestARootThatCannotBeRead(t *testing.T) {
	simulate(t, "", "a b", func(t *testing.T, r *rig) {
		r.remove("a")
		r.options.BeforeDelete = func() { r.failIf("list copy", func() bool { return true }) }
		p := r.pass()
		require.Equal(t, nothingLeft, p.HeldWhy)
		require.Equal(t, "a b", r.paths())
		r.Fail, r.options.BeforeDelete = nil, nil
		r.complete()
	})
}

// With --no-delete, and where some entries cannot be measured, an empty source is one, too.
func TestAnEmptyRootOfWhichNotAllGoes(t *testing.T) {
	simulate(t, "", "a/f b", func(t *testing.T, r *rig) {
		r.remove("a b")
		r.failIf("list a", func() bool { return true })
		p := r.pass()
		require.Equal(t, rootIsEmpty, p.HeldWhy)
		require.Equal(t, int64(1), p.Failed)
		require.Equal(t, "a/ a/f b", r.paths())
		r.Fail = nil
		r.requireHeld("a b", rootIsEmpty)
	})
}

// On a full disk the source's new entries had no room yet: the old ones go, though nothing is
// left then.
func TestNothingIsLeftOnAFullDisk(t *testing.T) {
	for _, full := range []bool{true, false} {
		simulate(t, "", "a b", func(t *testing.T, r *rig) {
			r.remove("a b")
			r.write("new")
			if full {
				r.Refuse("write copy", unix.ENOSPC, 2)
			} else {
				r.lose(errAway, "fetch /new")
			}
			p := r.pass()
			if full {
				require.Error(t, p.NoRoom)
				require.Equal(t, int64(2), p.Deleted)
				require.Empty(t, r.paths())
			} else {
				require.Equal(t, nothingLeft, p.HeldWhy)
			}
			r.Fail, r.Fault = nil, nil
			r.complete()
			require.Equal(t, "new", r.paths())
		})
	}
}

// A deletion with a reason of its own is held for that one, others go on; it counts neither
// for --max-delete nor for the root.
func TestAReasonOfItsOwn(t *testing.T) {
	simulate(t, "", "a/f a/old a/d/f a/d/g", func(t *testing.T, r *rig) {
		r.tree("a/d")
		r.remove("a/old a/d")
		r.limit("1")
		p := r.requireHeld("a/d", replica.WhyTree)
		require.Equal(t, int64(1), p.Deleted)
		require.Equal(t, int64(3), p.Held)
		r.write("a/g")
		require.Zero(t, r.requireHeld("a/d", replica.WhyTree).Deleted)
		r.options.HoldAll = "a reason"
		require.Equal(t, replica.WhyTree, r.requireHeld("a/d", replica.WhyTree).HeldWhy)
		r.release()
		r.complete()
		require.Equal(t, "a/ a/f a/g", r.paths())
	})
}

// A release carries out exactly what it names. What is new since then counts alone, and
// entries that changed stay held.
func TestAReleaseIsOfWhatItNames(t *testing.T) {
	simulate(t, "", "a/f a/old1 a/old2 a/old3 a/old4", func(t *testing.T, r *rig) {
		r.limit("1")
		r.remove("a/old1 a/old2")
		r.requireHeld("a/old1 a/old2", "2 of 6 entries would go, --max-delete is 1")
		r.release()
		r.remove("a/old3")
		p := r.complete()
		require.Equal(t, int64(3), p.Deleted)
		require.Equal(t, "a/ a/f a/old4", r.paths())
		require.False(t, r.replica.HasRelease())

		r.limit("0")
		r.remove("a/old4")
		r.requireHeld("a/old4", "1 of 3 entries would go, --max-delete is 0")
		r.release()
		require.NoError(t, r.Shell.Write("/copy/a/old4", "another"))
		r.requireHeld("a/old4", "1 of 3 entries would go, --max-delete is 0")
		require.False(t, r.replica.HasRelease())
	})
}

// A release also settles what was deleted in the last ten minutes, if it allows something that
// was held for the number of deletions; one of another tree does not.
func TestWhatAReleaseSettles(t *testing.T) {
	for _, c := range []struct {
		release string
		settles bool
	}{{"", false}, {"a/tree", false}, {"a/old3 a/old4", true}, {"a/old3", true}} {
		simulate(t, c.release, "a/f a/old1 a/old2 a/old3 a/old4 a/old5 a/old6 a/old7", func(t *testing.T, r *rig) {
			r.wait = time.Second
			r.tree("a/tree")
			r.limit("3")
			r.remove("a/old1 a/old2")
			r.requireHeld("a/tree", replica.WhyTree)
			r.remove("a/old3 a/old4")
			const why = "2 of 9 entries would go, 2 went in the last ten minutes, --max-delete is 3"
			p := r.pass()
			require.Equal(t, why+"; "+replica.WhyTree, p.HeldWhy)
			var lines []string
			for _, line := range strings.Split(r.readHeld(), "\n") {
				path := line[strings.LastIndex(line, " ")+1:]
				if strings.HasPrefix(line, "#") || strings.Contains(" "+c.release+" ", " "+path+" ") {
					lines = append(lines, line)
				}
			}
			require.NoError(t, r.Shell.Write("/copy/.tidemark/release", strings.Join(lines, "\n")+"\n"))
			r.write("a/new")
			r.pass()
			if strings.HasPrefix(c.release, "a/old") {
				require.NotContains(t, r.paths(), "a/old3")
			}
			require.Equal(t, c.settles, !strings.Contains(r.paths(), "a/old4"), "the other one is within the limit now")
			r.remove("a/old5 a/old6")
			r.pass()
			require.Equal(t, c.settles, !strings.Contains(r.paths(), "a/old5"))
		})
	}
}

// With --no-delete nothing is deleted but what somebody releases: what was held stays held
// as long as there is a reason, and then stays, no longer held.
func TestNoDeleteAndWhatWasHeld(t *testing.T) {
	simulate(t, "", "a/f a/old a/d/f b", func(t *testing.T, r *rig) {
		r.options.HoldAll = "a reason"
		r.remove("a/old a/d")
		r.requireHeld("a/d a/old", "a reason")
		r.env.NoDelete = true
		r.remove("b")
		r.requireHeld("a/d a/old", "a reason")
		r.options.HoldAll = ""
		r.write("a/g")
		p := r.pass()
		require.True(t, p.Complete)
		require.Zero(t, p.Deleted+p.Held)
		require.Equal(t, "a/ a/d/ a/d/f a/f a/g a/old b", r.paths())
		held, _ := r.held()
		require.Empty(t, held)
	})
}

// What replaces a directory is dropped if the deletion is held, and fetched again then.
func TestAReplacementThatIsHeld(t *testing.T) {
	simulate(t, "", "a/f a/d/f", func(t *testing.T, r *rig) {
		r.options.HoldAll = "a reason"
		r.remove("a/d")
		r.write("a/d")
		for range 2 {
			r.requireHeld("a/d", "a reason")
			require.False(t, r.isStaged())
			require.Contains(t, r.paths(), "a/d/f")
		}
		r.options.HoldAll = ""
		r.complete()
		require.Equal(t, "a/ a/d a/f", r.paths())
	})
}

// A copy that was never counted is counted without what the pass made. In a dry run nothing
// was made.
func TestACopyThatWasNeverCounted(t *testing.T) {
	for _, c := range []struct {
		dry         bool
		made, extra int
		both        int
		isHeld      bool
	}{
		{made: 100, extra: 80, both: 70, isHeld: true},
		{made: 100, extra: 70, both: 80},
		{dry: true, made: 50, extra: 100, both: 120},
		{dry: true, made: 50, extra: 120, both: 100, isHeld: true},
	} {
		bubble(t, "", func(t *testing.T, r *rig) {
			r.replica.Close()
			r.limit("50%")
			var paths []string
			for i := range c.made {
				paths = append(paths, "new"+letters(i)+"/")
			}
			for i := range c.both {
				paths = append(paths, "both"+letters(i)+"/")
				require.NoError(t, r.Shell.Mkdir("/copy/both"+letters(i), 0o755))
			}
			for i := range c.extra {
				require.NoError(t, r.Shell.Mkdir("/copy/old"+letters(i), 0o755))
			}
			r.write(strings.Join(paths, " "))
			r.env.DryRun = c.dry
			r.open(replica.Options{Adopt: true, ReadOnly: c.dry})
			p := r.full()
			require.Equal(t, int64(c.made), p.Made)
			require.Equal(t, c.isHeld, p.Held > 0, p.HeldWhy)
		})
	}
}

func letters(i int) string { return string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}) }
