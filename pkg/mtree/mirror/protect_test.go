package mirror

import (
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Entries that filters exclude are not deleted, nor are the directories that they are in. What is
// beside them is deleted, and counted.
func TestExcludedFilesKeepTheirDirectory(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = x", "a/b/g/h = x", "a/e/f = x", "c = y")
	b.config.Filters = []string{"- *.local"}
	b.equal(s)
	testtree.Make(t, b.config.Dest, "a/b/mine.local = precious")
	s.remove("a")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 5, held 0, skipped 1,")
	require.Equal(t, "precious", b.read("a/b/mine.local"))
	for _, gone := range []string{"a/b/f", "a/b/g", "a/e"} {
		require.NoFileExists(t, b.path(gone))
		require.NoDirExists(t, b.path(gone))
	}
	b.requireIdle()
	second := newBench(t, b.config.Dest)
	require.NoError(t, second.once(), "a copy of the copy is complete")
	require.NoError(t, os.Remove(b.path("a/b/mine.local")))
	s.publish("c")
	b.equal(s)
	require.Contains(t, b.out.String(), "deleted 2, held 0, skipped 0,")
}

// Held deletions are counted without what filters exclude, and a release spares it.
func TestAReleaseSparesWhatFiltersExclude(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 150), "c = y")...)
	b.config.Filters = []string{"- *.local"}
	b.equal(s)
	testtree.Make(t, b.config.Dest, "a/mine.local = precious")
	s.remove("a")
	b.requireHeld(150, "--max-delete")
	require.NoError(t, b.release())
	require.Contains(t, b.out.String(), "deleted 150, held 0")
	require.Equal(t, "precious", b.read("a/mine.local"))
	require.NoFileExists(t, b.path("a/007"))
}

// An entry that is gone before it is deleted counts as deleted, with filters and without.
func TestTheDoomedMayVanish(t *testing.T) {
	for _, filters := range [][]string{nil, {"- *.local"}} {
		s, b := overHTTP(t, "gone/a/b = x", "gone/c = x", "also = x", "f = y")
		b.config.Filters = filters
		b.equal(s)
		require.NoError(t, os.RemoveAll(s.path("gone")))
		require.NoError(t, os.RemoveAll(s.path("also")))
		s.change("f = changed")
		b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/f" {
				_ = os.RemoveAll(b.path("gone"))
				_ = os.RemoveAll(b.path("also"))
			}
			return false
		})
		b.equal(s)
	}
}

// A directory in which something is excluded does not give way to a file.
func TestExcludedFilesAreNotReplaced(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/f = x", "c = y")
	b.config.Filters = []string{"- *.local"}
	b.equal(s)
	testtree.Make(t, b.config.Dest, "a/mine.local = precious", "b/mine.local = precious")
	require.NoError(t, os.RemoveAll(s.path("a")))
	require.NoError(t, os.RemoveAll(s.path("b")))
	s.change("a = a file", "b -> c")
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Equal(t, "precious", b.read("a/mine.local"))
	require.Equal(t, "precious", b.read("b/mine.local"))
}

// served is overHTTP with options of serve.
func served(t *testing.T, c serve.Config, lines ...string) (*tree, *bench) {
	s, b := overHTTP(t, lines...)
	c.Root = s.root
	b.server.reopen(c)
	return s, b
}

// Entries that serve begins to leave out are not taken for deleted, and stop no directory from
// completing.
func TestWhatIsExcludedLaterIsKept(t *testing.T) {
	s, b := overHTTP(t, "d/a.c = x", "d/a.o = y", "d/b.c = z", "e/f = x")
	b.equal(s)
	b.server.reopen(serve.Config{Root: s.root, Hidden: true, Exclude: []string{"*.o"}})
	s.remove("e/f")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 1, failed 0")
	require.Equal(t, "y", b.read("d/a.o"))
	b.requireIdle()
	s.change("d/a.c = changed")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1, failed 0")
	require.Equal(t, "y", b.read("d/a.o"))
	b.requireIdle()
	require.NoError(t, os.Remove(b.path("d/a.o")))
	s.change("d/a.c = changed again")
	require.NoError(t, b.once()) // nothing of what is left out is here
	s.remove("d/b.c")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 0,")
	b.requireIdle()
}

// Serve was started with --exclude in mid-pass, after it had listed the root. What it left out
// further down was taken for deleted, because the root's answer told of no other options. The
// same with --exclude and without it again, before the root was asked for: what it left out
// was never fetched, and the stamps were set.
func TestOtherOptionsInMidPass(t *testing.T) {
	s, b := overHTTP(t, "d/a.c = x", "d/a.o = y")
	b.equal(s)
	other, err := serve.New(serve.Config{Root: s.root, Hidden: true, Exclude: []string{"*.o"}})
	require.NoError(t, err)
	t.Cleanup(func() { other.Release(); _ = other.Close() })
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/" {
			return false
		}
		other.ServeHTTP(w, r)
		return true
	})
	s.change("d/a.c = changed")
	s.change("d/b.o = new")
	require.ErrorContains(t, b.once(), "incomplete")
	require.Contains(t, b.out.String(), "fetched 1 files (7 bytes), deleted 0, held 0")
	require.Equal(t, "y", b.read("d/a.o"))
	b.server.interfere(nil)
	require.NoError(t, b.once())
	b.equal(s)
	b.requireIdle()
}

// The same with --owner: a directory was completed by a listing without owners, and what had been
// given to another user was never given to them in the copy.
func TestOwnersAreLeftOutInMidPass(t *testing.T) {
	s, b := served(t, serve.Config{Owner: true}, "d/f = x")
	b.config.Owner = true
	require.NoError(t, b.once())
	other, err := serve.New(serve.Config{Root: s.root})
	require.NoError(t, err)
	t.Cleanup(func() { other.Release(); _ = other.Close() })
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/d/" {
			return false
		}
		other.ServeHTTP(w, r)
		return true
	})
	s.publish("d/f") // as chown does
	require.ErrorContains(t, b.once(), "incomplete")
	b.server.interfere(nil)
	require.NoError(t, b.once())
	b.requireIdle()
}

// If entries were left out from the beginning, all others are deleted as usual. The same holds
// if more are left out each time, because none of them was ever here.
func TestWhatWasAlwaysExcludedHoldsNothing(t *testing.T) {
	s, b := served(t, serve.Config{Exclude: []string{"*.o"}}, "d/a.c = x", "d/a.o = y", "d/b.c = x", "d/c.c = x", "d/dir/f = x", "e/f = x")
	require.NoError(t, b.once())
	require.NoFileExists(t, b.path("d/a.o"))
	s.remove("d/b.c")
	s.remove("d/dir")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 3, held 0, skipped 0,")
	s.change("d/c.o = another")
	require.NoError(t, os.Remove(s.path("d/c.c")))
	s.publish("d/c.c")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 0,")
	require.NoError(t, os.Remove(s.path("e/f")))
	s.change("e/f.o = the first one here")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 0,")
	b.requireIdle()
}

// A mount at the source covers a directory: it stays in the copy, with everything below it.
func TestWhatAMountCoversIsKept(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.equal(s)
		require.NoError(t, syscall.Mount("tmpfs", s.path("d/data"), "tmpfs", 0, "size=64k"))
		t.Cleanup(func() { _ = syscall.Unmount(s.path("d/data"), syscall.MNT_DETACH) })
		s.remove("d/f")
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "deleted 1, held 0, skipped 1,")
		require.Equal(t, "x", b.read("d/data/f"))
		s.change("d/g = more")
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1,")
		require.Equal(t, "x", b.read("d/data/f"))
		require.NoError(t, syscall.Unmount(s.path("d/data"), 0))
		s.publish("d/g")
		b.equal(s)
		b.requireIdle()
	}, "d/data/f = x", "d/f = y", "d/g = z")
}

// An entry that serve left out was shown, and copied by a pass that did not end. It is not taken
// for deleted when it is left out again, although the number of entries left out is what it was
// when the directory was last complete.
func TestWhatIsSeenOnceIsKept(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		cover := func() {
			require.NoError(t, syscall.Mount("tmpfs", s.path("d/data"), "tmpfs", 0, "size=64k"))
			t.Cleanup(func() { _ = syscall.Unmount(s.path("d/data"), syscall.MNT_DETACH) })
		}
		cover()
		require.NoError(t, b.once())
		require.NoDirExists(t, b.path("d/data"))
		require.NoError(t, syscall.Unmount(s.path("d/data"), 0))
		s.change("d/g = more")
		b.halfway()
		require.Equal(t, "x", b.read("d/data/f"))
		cover()
		s.change("d/g = and more")
		require.NoError(t, b.once())
		require.Equal(t, "and more", b.read("d/g"))
		require.Equal(t, "x", b.read("d/data/f"))
		require.NoError(t, syscall.Unmount(s.path("d/data"), 0))
		s.publish("d/g")
		b.equal(s)
	}, "d/data/f = x", "d/g = z")
}

// halfway runs a pass up to where it would begin to delete and to stamp, as if it were killed
// there.
func (b *bench) halfway() {
	b.t.Helper()
	c := b.config
	c.beforeDelete = func() { panic(b) }
	m, err := open(c)
	require.NoError(b.t, err)
	defer m.close()
	require.PanicsWithValue(b.t, b, func() { _, _ = m.once(b.t.Context()) })
}

// The same with a serve of other options in between, which hides another name.
func TestWhatOtherOptionsShowedIsKept(t *testing.T) {
	s, b := served(t, serve.Config{Exclude: []string{"*.o"}}, "d/a.c = x", "d/a.o = y", "d/e = z")
	require.NoError(t, b.once())
	b.server.reopen(serve.Config{Root: s.root, Exclude: []string{"e"}})
	b.halfway()
	require.Equal(t, "y", b.read("d/a.o"))
	b.server.reopen(serve.Config{Root: s.root, Exclude: []string{"*.o"}})
	require.NoError(t, b.once())
	require.Equal(t, "y", b.read("d/a.o"))
}

// A mount at the source covers a file, which stays in the copy. So does a file that is deleted at
// that moment, because it could be the covered one.
func TestWhatAMountOfAFileCoversIsKept(t *testing.T) {
	for _, over := range []string{"e/other", "/dev/null"} {
		eachSource(t, func(t *testing.T, s *tree, b *bench) {
			b.equal(s)
			from := over
			if over[0] != '/' {
				from = s.path(over)
			}
			require.NoError(t, syscall.Mount(from, s.path("d/data"), "", syscall.MS_BIND, ""))
			t.Cleanup(func() { _ = syscall.Unmount(s.path("d/data"), syscall.MNT_DETACH) })
			s.remove("d/f")
			require.NoError(t, b.once())
			require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 2, failed 0")
			require.Equal(t, "x", b.read("d/data"))
			require.NoError(t, os.Remove(b.path("d/f")))
			s.change("d/g = more")
			require.NoError(t, b.once())
			require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1, failed 0")
			require.Equal(t, "x", b.read("d/data"))
			b.requireIdle()
			require.NoError(t, syscall.Unmount(s.path("d/data"), 0))
			s.publish("d/g")
			b.equal(s)
			b.requireIdle()
		}, "d/data = x", "d/f = y", "d/g = z", "e/other = xx")
	}
}

// Another pattern leaves out as many entries: the number shows nothing.
func TestAnotherPatternThatLeavesOutAsMany(t *testing.T) {
	s, b := served(t, serve.Config{Exclude: []string{"*.o"}}, "d/a.c = x", "d/a.o = y")
	require.NoError(t, b.once())
	b.server.reopen(serve.Config{Root: s.root, Exclude: []string{"*.c"}})
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("d/a.c"))
	require.Equal(t, "y", b.read("d/a.o"))
	require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1,")
	s.change("d/b.o = z")
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("d/a.c"))
}

// Files in a copy that filters exclude do not belong to it: a copy of that copy is complete
// without them, and reports nothing as missing.
func TestACopyOfACopyWithFilters(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/tmp/g = y", "c = z")
	b.config.Filters = []string{"- tmp/", "- *.local"}
	require.NoError(t, b.once())
	testtree.Make(t, b.config.Dest, "a/tmp/mine = precious", "a/b.local = precious")
	s.change("a/f = changed")
	require.NoError(t, b.once())
	for _, source := range []string{b.config.Dest, serveTree(t, b.config.Dest).URL} {
		second := newBench(t, source)
		require.NoError(t, second.once())
		require.Equal(t, "changed", second.read("a/f"))
		require.NoDirExists(t, second.path("a/tmp"))
		require.NoFileExists(t, second.path("a/b.local"))
		require.Contains(t, second.out.String(), "skipped 0, failed 0")
	}
}

// The same if the first mirror was killed and could not write how much it had made.
func TestMaxDeleteAfterAKilledFirstCopy(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 200), "z/f = x")...)
	b.server.answer("/z/?txt", http.StatusInternalServerError, "")
	require.Error(t, b.once())
	config := b.config.withDefaults()
	r, err := replica.Open(config.replicaOptions())
	require.NoError(t, err)
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool {
		*s = state.Status{State: wire.Filling}
		return true
	}))
	r.Close()
	b.server.interfere(nil)
	b.equal(s)
	require.Contains(t, b.printStatus(), "entries: 203\n")
	s.remove("a")
	b.requireHeld(201, "201 of 203 entries would go")
}

// The entries of a directory are counted when it is adopted, too: --max-delete is a share of
// them.
func TestMaxDeleteAfterAdopting(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 200), "b = x")...)
	require.NoError(t, os.CopyFS(b.config.Dest, os.DirFS(s.root)))
	require.NoError(t, os.RemoveAll(b.path(".tidemark")))
	b.config.Adopt = true
	b.equal(s)
	require.Contains(t, b.printStatus(), "entries: 202\n")
	b.config.Adopt = false
	s.remove("a")
	b.requireHeld(201, "201 of 202 entries would go")
}

// The same in the pass that adopts, before anything was counted: entries below directories that
// are to be deleted count, too.
func TestMaxDeleteWhileAdopting(t *testing.T) {
	_, b := overHTTP(t, "b = x")
	testtree.Make(t, b.config.Dest, append(many("a/sub", 200), "b = x")...)
	b.config.Adopt = true
	b.requireHeld(202, "202 of 203 entries would go")
	require.Equal(t, "7", b.read("a/sub/007"))
}
