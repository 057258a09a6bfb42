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

// runs sets the runs of the source's watch: each ended with its floor, except the last one.
func (s *tree) runs(runs ...wire.Run) {
	s.id.Runs = runs
	require.NoError(s.t, s.marker.WriteTree(s.id))
}

const (
	firstRun  = "0000000000000001"
	secondRun = "0000000000000002"
)

func ended(id string, floor mtree.Stamp) wire.Run { return wire.Run{ID: id, Floor: &floor} }

// ageCTimes makes the copy take the ctimes of all files for old, as they are after a file
// system was rolled back.
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

// rollBack is a source that was rolled back. The copy has one file in the version from before
// that, which equals the source's present one in size and time.
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

// After a roll-back, files that the copy had from the abandoned future stayed, under complete
// stamps, if their size and time agreed with the past. In a directory whose stamp went back
// files are compared by their sums.
func TestAStampThatWentBack(t *testing.T) {
	s, b := rollBack(t)
	require.Equal(t, "soon", b.read("a/b/f"))
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 1 files")
	b.requireIdle()
}

// They also stayed if the new stamps are above the old ones, or equal to them. The runs of watch
// show the roll-back, also after a kill in the middle of the walk.
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

// A run that ended as the copy has it, and the next run, are no reason to walk; nor is a source
// of an earlier version, which publishes no runs.
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

// A time that the kernel set while no watch ran is not a stamp of a run, nor is the local time
// of a copy's unfinished directory. When they were counted, the next run looked like a
// roll-back, and a walk with sums fell due.
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

// A running mirror looks at the source after its watch was restarted, even if the root's
// stamp is the one it knows.
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

// A copy was promoted in place of its source. When the source came back, copies followed it and
// deleted what had been made meanwhile. Now these deletions are held, pass by pass, until they
// are released; from then on the copy follows that lineage.
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

	// back to the other lineage, for which nobody released anything
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

// The same if a pass with --no-delete comes first. Nothing was to go then, so nothing was held, and
// the copy followed that lineage from then on: without the option all that was new was deleted.
func TestNoDeleteTakesNoLineageOver(t *testing.T) {
	s := watched(t, "a/f = one", "b/g = x")
	s.epoch(100)
	b := newBench(t, s.root)
	b.equal(s)
	s.epoch(7)
	s.remove("b/g")
	s.change("a/f = changed")
	b.config.NoDelete = true
	for range 2 {
		require.NoError(t, b.once())
		require.Equal(t, "changed", b.read("a/f"))
		require.Contains(t, b.printStatus(), "epoch 100, the source is of an older lineage, epoch 7\n")
	}
	b.requireIdle()
	b.config.NoDelete = false
	for range 2 {
		b.held("older lineage")
		require.Equal(t, "x", b.read("b/g"))
	}
	require.NoError(t, Release(context.Background(), b.config))
	b.equal(s)
	require.EqualValues(t, 7, b.published().Tree.Epoch)
}

// What an answer does not say stays as it was: an answer without an epoch is not of an older
// lineage.
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

// The SOURCE of a copy of the whole tree became /a, or a copy of /a, and the copy followed: with
// fewer than a hundred entries everything else was deleted.
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

// The copy of an earlier version does not know where in the tree it is: it takes the first
// answer.
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

// A cascade was built before watch ever ran, and refused when watch came: the id that the first
// mirror had made up was published, and the next mirror recorded it.
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
				// for a moment serve answers with what it read before
				require.Eventually(t, func() bool { return b.once() == nil && b.published().Tree.ID == s.id.ID }, 10*time.Second, time.Millisecond)
				b.same(s)
			}
		})
	}
}

// A copy of a source without an id is bound to the address. A source with an id at another
// address was taken for the same source, now watched.
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

// An answer without a tree id removed the ids of directories from the records, and a later
// exchange of twins was not seen.
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

// A mounted directory is gone, and the directory under its mount point has no id either:
// everything was deleted except what lay there.
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

	// a source with an id is refused
	require.NoError(t, os.Rename(s.root, s.root+".mounted"))
	require.NoError(t, os.Mkdir(s.root, 0o755))
	s.watch()
	b.refuses("and tree " + s.id.ID)
	require.Equal(t, "x", b.read("c/g"))
}

// The same if a pass with --no-delete comes first: it made the other directory the source.
func TestNoDeleteTakesNoPlaceOver(t *testing.T) {
	s := newTree(t, "a/f = one", "c/g = x")
	b := newBench(t, s.root)
	b.equal(s)
	require.NoError(t, os.Rename(s.root, s.root+".mounted"))
	require.NoError(t, os.Mkdir(s.root, 0o755))
	require.NoError(t, os.WriteFile(s.path("stray"), nil, 0o644))
	b.config.NoDelete = true
	for range 2 {
		require.NoError(t, b.once())
	}
	b.config.NoDelete = false
	for range 2 {
		b.held("is another directory than the copy was made from")
		require.Equal(t, "x", b.read("c/g"))
	}
	require.NoError(t, os.RemoveAll(s.root))
	require.NoError(t, os.Rename(s.root+".mounted", s.root))
	b.equal(s)
}

// It may be intended: then a release makes it the source.
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

// The password of a SOURCE was written to .tidemark/tree and shown by --status. And a SOURCE
// with a slash at the end was another one than without.
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

// If a copy lost its .tidemark just when a walk fell due, its mirror tried for ever to write
// there.
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
