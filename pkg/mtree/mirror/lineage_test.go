package mirror

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// runs notes runs of the source's watch: each id ended with the floor behind it,
// the last one runs.
func (s *tree) runs(runs ...wire.Run) {
	s.id.Runs = runs
	require.NoError(s.t, s.marker.WriteTree(s.id))
}

const (
	firstRun  = "0000000000000001"
	secondRun = "0000000000000002"
)

func ended(id string, floor mtree.Stamp) wire.Run { return wire.Run{ID: id, Floor: &floor} }

// ageCTimes makes the copy take the ctimes of all files for old: those of a file
// system that was rolled back are.
func (b *bench) ageCTimes(dirs ...string) {
	for _, path := range dirs {
		d, err := disk.OpenRoot(b.path(path))
		require.NoError(b.t, err)
		r, ok := records.Of(d)
		require.True(b.t, ok)
		r.Now = machine.Now().Add(time.Hour)
		info, err := d.Self()
		require.NoError(b.t, err)
		require.NoError(b.t, records.Set(d, r))
		require.NoError(b.t, d.SetTime(info.MTime))
		require.NoError(b.t, d.Close())
	}
}

// rollBack is a source with a file that the copy has as it was in an abandoned
// future, equal in size and time to what the source has now.
func rollBack(t *testing.T) (s *tree, b *bench) {
	s = watched(t, "a/b/f = past @1000000000", "c/g = x @1000000000")
	s.runs(wire.Run{ID: firstRun})
	b = newBench(t, s.root)
	b.equal(s)
	past := map[string]mtree.Stamp{}
	for _, path := range []string{"a/b", "a", ""} {
		past[path] = stampOf(t, s.path(path))
	}
	s.change("a/b/f = soon @1000000000")
	b.equal(s)
	b.ageCTimes("a/b", "a", "")
	b.requireIdle()
	s.change("a/b/f = past @1000000000")
	for path, stamp := range past {
		require.NoError(t, os.Chtimes(s.path(path), time.Time{}, stamp.Time()))
	}
	return s, b
}

// What an abandoned future left in a copy stayed under complete stamps where size
// and time agreed with the past: a directory whose stamp went back has its files
// compared by sums, whoever runs.
func TestAStampThatWentBack(t *testing.T) {
	s, b := rollBack(t)
	require.Equal(t, "soon", b.read("a/b/f"))
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files")
	b.requireIdle()
}

// So it did where the new future's stamps are above the old one's, or equal to
// them. The runs of watch tell, also after a kill in the middle of the walk.
func TestRolledBackAndWatched(t *testing.T) {
	floor := mtree.Unix(1_500_000_000, 0)
	for name, runs := range map[string][]wire.Run{
		"ended below what was listed": {ended(firstRun, floor), {ID: secondRun}},
		"not known":                   {{ID: secondRun}},
	} {
		for _, equal := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s, b := rollBack(t)
				second := newBench(t, b.config.Dest)
				require.NoError(t, second.once())
				second.ageCTimes("a/b", "a", "")
				for _, path := range []string{"a/b", "a", ""} {
					at := machine.Now()
					if equal {
						at = stampOf(t, b.path(path))
					}
					require.NoError(t, os.Chtimes(s.path(path), time.Time{}, at.Time()))
				}
				s.runs(runs...)

				m, err := open(b.config)
				require.NoError(t, err)
				a, err := m.source.Root(context.Background(), source.Poll{})
				require.NoError(t, err)
				_, err = m.lineage.Claim(t.Context(), &a)
				require.NoError(t, err)
				m.close() // killed
				require.Equal(t, secondRun, b.status().SourceRun)
				require.NotEqual(t, runs, b.published().Tree.Runs, "who copies from here is to walk when this copy has")
				second.requireIdle()

				b.equal(s)
				require.Contains(t, b.out.String(), "fetched 1 files")
				require.Equal(t, runs, b.published().Tree.Runs)
				b.requireIdle()
				second.equal(s)
				require.Contains(t, second.out.String(), "fetched 1 files")
				second.requireIdle()
			})
		}
	}
}

// A run that ended as the copy has it, and the next one, are no reason to walk; nor
// is a source of an earlier version, which tells of none.
func TestRunsThatGoOn(t *testing.T) {
	s := watched(t, "a/b/f = one")
	b := newBench(t, s.root)
	b.equal(s)
	require.Empty(t, b.status().SourceRun)
	s.runs(wire.Run{ID: firstRun})
	s.change("a/b/f = two")
	b.equal(s)
	require.Equal(t, firstRun, b.status().SourceRun)
	top := stampOf(t, s.root)
	require.Equal(t, top, *b.status().SourceTop)
	s.runs(ended(firstRun, top), wire.Run{ID: secondRun})
	b.requireIdle()
	require.Equal(t, secondRun, b.status().SourceRun)

	// what was listed below the root counts, too
	top = machine.Now()
	require.NoError(t, os.Chtimes(s.root, time.Time{}, top.Time()))
	top = top.Add(time.Second)
	require.NoError(t, os.Chtimes(s.path("a"), time.Time{}, top.Time()))
	b.equal(s)
	require.Equal(t, top, *b.status().SourceTop)
	s.runs()
	b.requireIdle()
	require.Equal(t, secondRun, b.status().SourceRun)
}

// What the kernel set while no watch ran is no stamp of a run, nor is the local time
// of a copy's unfinished directory: counted, they made the next run look like a
// roll-back, and a walk with sums due.
func TestTimesThatAreNoStamps(t *testing.T) {
	s := watched(t, "a/f = one")
	s.runs(wire.Run{ID: firstRun})
	b := newBench(t, s.root)
	b.equal(s)
	top := *b.status().SourceTop
	now := machine.Now()
	require.NoError(t, s.status.Write(state.Status{State: wire.Audited, Checkpoint: &now, Clean: true}))
	require.NoError(t, s.lock.Unlock())
	s.change("a/g = two")
	require.NoError(t, os.Chtimes(s.root, time.Time{}, top.Time()))
	s.epoch(2) // a full walk
	b.equal(s)
	require.Equal(t, top, *b.status().SourceTop)
}

// A running mirror looks at the source once its watch runs anew, whatever the
// root's stamp: that may be the one it knows.
func TestAnotherRunIsLookedAt(t *testing.T) {
	for name, address := range map[string]func(root string) string{
		"directory": func(root string) string { return root },
		"http":      func(root string) string { return serveTree(t, root).URL },
	} {
		t.Run(name, func(t *testing.T) {
			s := watched(t, "a/f = one")
			s.runs(wire.Run{ID: firstRun})
			b := newBench(t, address(s.root))
			b.config.Interval = time.Millisecond
			r := b.start()
			b.eventually(s)
			s.runs(ended(firstRun, stampOf(t, s.root)), wire.Run{ID: secondRun})
			if b.config.Source != s.root {
				s.change("a/f = two") // a poll is held as long as nothing moves
			}
			require.Eventually(t, func() bool { return b.status().SourceRun == secondRun }, 10*time.Second, time.Millisecond)
			require.NoError(t, r.stop())
		})
	}
}

// A copy followed the source that it was promoted instead of, when that came back,
// and deleted what had been made meanwhile. Now that is held, pass by pass, until
// it is released; from then on that lineage is followed.
func TestAnOlderLineageDeletesNothing(t *testing.T) {
	s := watched(t, "a/f = one", "b/g = x")
	s.epoch(100)
	b := newBench(t, s.root)
	b.equal(s)
	s.epoch(7)
	s.remove("b/g")
	s.change("a/f = changed")
	for range 3 {
		b.held("older lineage")
		require.Equal(t, "changed", b.read("a/f"))
		require.Equal(t, "x", b.read("b/g"))
		require.Contains(t, b.printStatus(), "epoch 100, the source is of an older lineage, epoch 7\n")
	}
	s.change("a/h = new")
	b.held("older lineage")
	require.NoError(t, Release(context.Background(), b.config))
	b.equal(s)
	require.EqualValues(t, 7, b.published().Tree.Epoch)
	s.remove("a/f")
	b.equal(s)
	b.requireIdle()

	// and back to the other one, which nobody released
	s.epoch(100)
	s.remove("a/h")
	b.equal(s)
	s.epoch(7)
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	s.remove("b")
	b.held("older lineage")
	s.epoch(100) // the cause is gone
	b.equal(s)
}

// What may not be known of an answer stays what it was: an answer without the
// epoch is none of an older lineage.
func TestAnAnswerWithoutAnEpoch(t *testing.T) {
	s := watched(t, "a/f = one")
	s.epoch(100)
	b := newBench(t, s.root)
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	claim, err := m.lineage.Claim(t.Context(), &source.Root{Dir: source.Dir{Tree: source.Tree{ID: s.id.ID}}})
	require.NoError(t, err)
	require.Empty(t, claim.HoldAll)
	require.EqualValues(t, 100, m.replica.Tree().Epoch)
}

// refuses runs Once and requires a refusal that says why.
func (b *bench) refuses(why string) {
	b.t.Helper()
	err := b.once()
	require.Equal(b.t, exit.Refused, exit.Of(err), "%v", err)
	require.ErrorContains(b.t, err, why)
}

// held runs Once and requires deletions to be held for a reason.
func (b *bench) held(why string) {
	b.t.Helper()
	err := b.once()
	require.Equal(b.t, exit.Held, exit.Of(err), "%v", err)
	require.ErrorContains(b.t, err, why)
}

// A copy of the whole tree became one of /a when its SOURCE did, or that of a copy
// of /a: below a hundred entries all else went.
func TestACopyOfAnotherDirectoryOfTheTree(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "c/g = x")
	b.equal(s)
	require.Equal(t, "/", b.published().Tree.Path)
	whole := b.config.Source
	sub := newBench(t, whole+"/a/")
	require.NoError(t, sub.once())
	require.Equal(t, "/a", sub.published().Tree.Path)
	below := newBench(t, serveTree(t, sub.config.Dest).URL+"/b/")
	require.NoError(t, below.once())
	require.Equal(t, "/a/b", below.published().Tree.Path)
	for _, other := range []string{whole + "/a/", sub.config.Dest, below.config.Source} {
		b.config.Source = other
		b.refuses(`the copy is one of "/" in the tree`)
	}
	sub.config.Source = below.config.Dest
	sub.refuses(`the source is "/a/b"`)
	require.Equal(t, "x", b.read("c/g"))
	b.config.Adopt = true
	b.config.Source = whole + "/a/"
	require.NoError(t, b.once())
	require.Equal(t, "one", b.read("b/f"))
	require.NoDirExists(t, b.path("c"))
}

// A copy of an earlier version was not told where in the tree it is: it is where
// it looks first.
func TestACopyWithoutAPath(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	b.equal(s)
	b.alterTree(func(t *state.Tree) { t.Path = "" })
	b.requireIdle()
	require.Equal(t, "/", b.published().Tree.Path)
}

// alterTree rewrites the copy's tree file.
func (b *bench) alterTree(change func(t *state.Tree)) {
	d, err := disk.OpenRoot(b.config.Dest)
	require.NoError(b.t, err)
	defer d.Close()
	m, err := state.OpenMarker(d, "")
	require.NoError(b.t, err)
	defer m.Close()
	t, err := m.ReadTree()
	require.NoError(b.t, err)
	change(&t)
	require.NoError(b.t, m.WriteTree(t))
}

// A cascade that was built before watch ever ran was refused when watch came: the
// id that the first mirror had made up was published, and recorded by the next.
func TestAMadeUpIDIsNotPublished(t *testing.T) {
	for name, address := range map[string]func(root string) string{
		"directory": func(root string) string { return root },
		"http":      func(root string) string { return serveTree(t, root).URL },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTree(t, "a/f = one", "c/g = x")
			b := newBench(t, s.root)
			b.equal(s)
			second := newBench(t, address(b.config.Dest))
			second.equal(s)
			third := newBench(t, address(second.config.Dest))
			third.equal(s)
			require.Empty(t, second.published().Tree.ID)
			require.Contains(t, second.printStatus(), "tree: none")
			require.NoError(t, os.Remove(s.path("c/g")))
			for _, b := range []*bench{b, second, third} {
				b.equal(s)
			}
			s.watch()
			s.change("a/f = two")
			for _, b := range []*bench{b, second, third} {
				// serve says for a moment what it read before
				require.Eventually(t, func() bool { return b.once() == nil && b.published().Tree.ID == s.id.ID }, 10*time.Second, time.Millisecond)
				b.same(s)
			}
		})
	}
}

// A copy of a source without an id is of that address, also when another one has
// an id: it was taken for the same source that is watched now.
func TestACopyWithoutAnIDKeepsToItsSource(t *testing.T) {
	s, other := newTree(t, "a/f = one"), watched(t, "z = y")
	b := newBench(t, s.root)
	b.equal(s)
	b.config.Source = other.root
	b.refuses("had no tree id")
	b.config.Source = serveTree(t, other.root).URL
	b.refuses("had no tree id")
	b.same(s)
}

// An answer without a tree id took the ids of directories from the records, and an
// exchange of twins that followed was not seen.
func TestIDsOutliveTheTreeID(t *testing.T) {
	s, b := overHTTP(t, "now/f = AAAA @1000000000", "next/f = BBBB @1000000000")
	b.equal(s)
	before, _ := b.record("now")
	require.NotEmpty(t, before.ID)
	id := s.id
	require.NoError(t, os.RemoveAll(s.path(mtree.MarkerName)))
	require.NoError(t, s.lock.Unlock())
	b.server.restart(s.root)
	b.config.Source = b.server.URL
	require.NoError(t, os.WriteFile(s.path("more"), nil, 0o644))
	b.equal(s)
	after, _ := b.record("now")
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, id.ID, b.published().Tree.ID)
}

// A directory that was mounted is gone, and the one below its mount has no id
// either: all but what lay there was deleted.
func TestALocalSourceThatIsAnotherDirectory(t *testing.T) {
	s := newTree(t, "a/f = one", "c/g = x")
	b := newBench(t, s.root)
	b.equal(s)
	require.NoError(t, os.Rename(s.root, s.root+".mounted"))
	require.NoError(t, os.Mkdir(s.root, 0o755))
	require.NoError(t, os.WriteFile(s.path("stray"), nil, 0o644))
	for range 2 {
		b.held("is another directory than the copy was made from")
		require.Equal(t, "x", b.read("c/g"))
	}
	require.NoError(t, os.RemoveAll(s.root))
	require.NoError(t, os.Rename(s.root+".mounted", s.root))
	b.equal(s)

	// one that has an id is refused
	require.NoError(t, os.Rename(s.root, s.root+".mounted"))
	require.NoError(t, os.Mkdir(s.root, 0o755))
	s.watch()
	b.refuses("and tree " + s.id.ID)
	require.Equal(t, "x", b.read("c/g"))
}

// It may be meant: then a release makes it the source.
func TestALocalSourceThatWasReplaced(t *testing.T) {
	s := newTree(t, "a/f = one", "c/g = x")
	b := newBench(t, s.root)
	b.equal(s)
	require.NoError(t, os.Rename(s.root, s.root+".old"))
	require.NoError(t, os.Mkdir(s.root, 0o755))
	s.change("new = n")
	b.held("another directory")
	require.NoError(t, Release(context.Background(), b.config))
	b.equal(s)
	s.change("h = h", "i = i")
	b.equal(s)
	s.remove("h")
	b.equal(s)
}

// The password of a SOURCE lay in .tidemark/tree and in --status; and a slash more
// or less made another source of it.
func TestSourceIsRecordedWithoutCredentials(t *testing.T) {
	s := newTree(t, "a/f = one")
	b := newBench(t, serveTree(t, s.root).URL)
	b.equal(s)
	plain := b.config.Source
	b.config.Source = "http://user:secret@" + plain[len("http://"):] + "/"
	b.alterTree(func(t *state.Tree) { t.Upstream = b.config.Source })
	require.NotContains(t, b.printStatus(), "secret")
	b.equal(s)
	require.Equal(t, plain, b.published().Tree.Upstream)
	text, err := os.ReadFile(b.path(".tidemark/tree"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
	watchedSource, c := overHTTP(t, "a/f = one")
	c.equal(watchedSource)
	c.config.Source += "/"
	c.requireIdle()
}

// A mirror whose copy lost its .tidemark just when a walk fell due tried for ever
// to write there.
func TestUnmarkedBeforeAClaim(t *testing.T) {
	s := watched(t, "a/f = one")
	b := newBench(t, s.root)
	b.equal(s)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	s.epoch(2)
	require.NoError(t, os.RemoveAll(b.path(mtree.MarkerName)))
	_, err = m.once(context.Background())
	require.True(t, errors.Is(err, replica.ErrUnmarked), "%v", err)
}
