package lineage

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

var same = func(*source.Root) {}

// doubts returns the doubts about the copy; none if it is complete.
func (b *bench) doubts() (all replica.Doubts) {
	for d := replica.DoubtBelow; d <= replica.DoubtClock; d <<= 1 {
		if b.replica.IsDoubted(d) {
			all |= d
		}
	}
	return all
}

// What a claim doubts in the copy. A full walk is due exactly if it doubts anything.
func TestWhatAClaimDoubts(t *testing.T) {
	const below = replica.DoubtBelow
	for name, c := range map[string]struct {
		set    func(b *bench)
		root   func(*source.Root)
		doubts replica.Doubts
		pauses int
	}{
		"nothing new":          {},
		"another epoch":        {root: func(r *source.Root) { r.Tree.Epoch = 5 + 4 }, doubts: below | replica.DoubtRecent | replica.DoubtClock},
		"one that is no time":  {root: func(r *source.Root) { r.Tree.Epoch = 5 + 1 }, doubts: below | replica.DoubtRecent | replica.DoubtClock | replica.DoubtBytes},
		"nor is this":          {root: func(r *source.Root) { r.Tree.Epoch = 5 + 3 }, doubts: below | replica.DoubtRecent | replica.DoubtClock | replica.DoubtBytes},
		"the first epoch":      {set: func(b *bench) { b.set(func(t *state.Tree) { t.Epoch = 0 }) }, doubts: below | replica.DoubtClock},
		"an older lineage":     {root: func(r *source.Root) { r.Tree.Epoch = 4 }, doubts: below | replica.DoubtClock},
		"no longer older":      {set: func(b *bench) { b.set(func(t *state.Tree) { t.Older = 3 }) }, doubts: below | replica.DoubtClock},
		"other options":        {root: func(r *source.Root) { r.Fingerprint = "f" }, doubts: below},
		"other filters":        {set: func(b *bench) { b.Selection = []string{"- a"} }, doubts: below | replica.DoubtHidden, pauses: 1},
		"a rolled back source": {root: func(r *source.Root) { r.Runs = []wire.Run{{ID: "000000000000000b"}} }, doubts: below | replica.DoubtBytes},
		"a copied copy":        {set: func(b *bench) { b.set(func(t *state.Tree) { t.Inode++ }) }, doubts: below | replica.DoubtHidden},
		"a status that was lost": {set: func(b *bench) {
			require.NoError(b.t, b.replica.UpdateStatus(func(s *state.Status) bool { s.State = ""; return true }))
		}, doubts: below},
		"sums":    {set: func(b *bench) { b.Sums, b.summed = true, false }, doubts: below | replica.DoubtBytes},
		"adopted": {set: func(b *bench) { b.Adopt, b.adopted = true, false }, doubts: below | replica.DoubtClock},
		"adopted from another tree": {set: func(b *bench) { b.Adopt, b.adopted = true, false },
			root: func(r *source.Root) { r.Tree = source.Tree{ID: theirs, Epoch: 9} }, doubts: below | replica.DoubtClock, pauses: 1},
		"an older lineage, in another epoch": {set: func(b *bench) { b.set(func(t *state.Tree) { t.Epoch, t.Older = 90, 5 }) },
			root: func(r *source.Root) { r.Tree.Epoch = 5 + 4 }, doubts: below | replica.DoubtRecent | replica.DoubtClock},
	} {
		b := made(t, Options{})
		if c.set != nil {
			c.set(b)
		}
		if c.root == nil {
			c.root = same
		}
		for again := range 2 { // and as it will be the next time, nothing is new
			claim := b.claim(rootOf(c.root))
			require.Equal(t, strings.HasPrefix(name, "an older lineage"), claim.HoldAll != "", name)
			require.False(t, claim.Walk, "the copy is marked instead")
			require.Equal(t, c.doubts, b.doubts(), name)
			require.Equal(t, c.pauses, b.pauses, name)
			tree := b.replica.Tree()
			require.True(t, tree.BoundTo(b.replica.Self))
			require.Equal(t, rootOf(c.root).Tree.ID, tree.ID)
			require.NotEmpty(t, b.replica.Status().State)
			if again == 0 {
				require.Equal(t, c.doubts != 0, b.log.Len() > 0, "%s: the log says why: %s", name, b.log)
			}
			b.complete()
			c.doubts, c.pauses = 0, 0
		}
	}
}

// A copy that is new is not doubted, waits for nobody, and says nothing. One of another tree
// forgets what it noted of deletions.
func TestTheFirstClaim(t *testing.T) {
	b := newBench(t, "", Options{Selection: []string{"- a"}, Sums: true}, replica.Options{})
	b.claim(rootOf(same))
	require.Zero(t, b.doubts())
	require.Zero(t, b.pauses)
	require.Empty(t, b.log.String())
	require.Equal(t, wire.Filling, b.replica.Status().State)
	b.complete()
	b.claim(rootOf(same))
	require.Zero(t, b.doubts(), "sums were asked for once")

	for _, id := range []string{ours, theirs} {
		b := made(t, Options{})
		require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool {
			s.State, s.Deletions = wire.Mirrored, &state.Deletions{Base: 7}
			return true
		}))
		b.Adopt, b.adopted = true, false
		b.claim(rootOf(func(r *source.Root) { r.Tree.ID = id }))
		require.Equal(t, id == ours, b.replica.Status().Deletions != nil)
	}
}

// What an adoption that compares no bytes takes for granted is said.
func TestAnAdoptionSaysWhatItTrusts(t *testing.T) {
	for _, c := range []struct{ adopt, sums, says bool }{{true, false, true}, {true, true, false}, {false, false, false}} {
		b := made(t, Options{})
		b.Adopt, b.adopted, b.Sums, b.summed = c.adopt, false, c.sums, false
		b.claim(rootOf(func(r *source.Root) { r.Tree.Epoch = 99 }))
		require.Equal(t, c.says, strings.Contains(b.log.String(), "adopted: files of equal size"), b.log)
	}
}

// A source that is new is looked for within the copy, which costs a look at all of it; one
// that is known is not.
func TestASourceWithinTheCopy(t *testing.T) {
	b := made(t, Options{})
	here := func(change func(*source.Root)) *source.Root {
		return rootOf(func(r *source.Root) { r.Node = b.replica.Self.Node; change(r) })
	}
	b.claim(here(same))
	for _, change := range []func(*source.Root){
		func(r *source.Root) { r.Tree.Epoch = 6 },
		func(r *source.Root) { r.Tree = source.Tree{} },
	} {
		was := b.replica.Tree()
		claim, err := b.Claim(context.Background(), here(change))
		require.Equal(t, exit.Refused, exit.Of(err))
		require.ErrorContains(t, err, "is the source itself")
		require.False(t, claim.Walk)
		require.Equal(t, was, b.replica.Tree())
		require.Zero(t, b.doubts())
	}
	b.claim(rootOf(func(r *source.Root) { r.Tree = source.Tree{} }))
	b.claim(here(func(r *source.Root) { r.Tree = source.Tree{} })) // it was found not to be there
}

// A source that lost its id is followed without deletions; new options of either side are
// taken over, and its runs.
func TestASourceThatLostItsID(t *testing.T) {
	lost := func(change func(*source.Root)) *source.Root {
		return rootOf(func(r *source.Root) { r.Tree = source.Tree{}; change(r) })
	}
	b := made(t, Options{})
	claim := b.claim(lost(same))
	require.Equal(t, Claim{HoldAll: lostID}, claim)
	require.Zero(t, b.doubts())
	b.claim(lost(func(r *source.Root) { r.Fingerprint = "" }))
	require.Zero(t, b.doubts())
	require.Equal(t, "e", b.replica.Tree().Fingerprint)
	claim = b.claim(lost(func(r *source.Root) { r.Fingerprint, r.Runs = "f", []wire.Run{{ID: "000000000000000c"}} }))
	require.Equal(t, Claim{HoldAll: lostID}, claim)
	require.Equal(t, replica.DoubtBelow, b.doubts())
	require.Equal(t, "f", b.replica.Tree().Fingerprint)
	require.Equal(t, ours, b.replica.Tree().ID)
	require.Equal(t, "000000000000000c", b.replica.Status().SourceRun)
	b.complete()
	b.Selection = []string{"- a"}
	b.claim(lost(func(r *source.Root) { r.Fingerprint = "f" }))
	require.Equal(t, replica.DoubtBelow|replica.DoubtHidden, b.doubts())
	require.Equal(t, []string{"- a"}, b.replica.Tree().Filters)

	dry := dryOf(t, b)
	dry.Selection = b.Selection
	require.Equal(t, Claim{HoldAll: lostID}, dry.claim(lost(func(r *source.Root) { r.Fingerprint = "f" })))
	require.Equal(t, Claim{HoldAll: lostID, Walk: true}, dry.claim(lost(func(r *source.Root) { r.Fingerprint = "g" })))
	require.Equal(t, "f", dry.replica.Tree().Fingerprint)
}

// dryOf opens the copy of b for reading only.
func dryOf(t *testing.T, b *bench) *bench {
	return newBench(t, b.path, Options{}, replica.Options{ReadOnly: true})
}

// A dry run says that a walk is due, and writes nothing.
func TestADryRunMarksNothing(t *testing.T) {
	b := made(t, Options{})
	b.set(func(t *state.Tree) { t.Adopted = from })
	dry := dryOf(t, b)
	require.Equal(t, from, dry.replica.Tree().Adopted)
	require.Equal(t, Claim{}, dry.claim(rootOf(same)))
	require.Equal(t, Claim{Walk: true}, dry.claim(rootOf(func(r *source.Root) { r.Fingerprint = "f" })))
	require.True(t, b.replica.Tree().Same(dry.replica.Tree()))
	require.Zero(t, dry.doubts())
	require.NoError(t, dry.Listed(rootOf(func(r *source.Root) { r.Runs = []wire.Run{{ID: "000000000000000d"}} }), &mtree.Listing{}, false))
	require.Equal(t, "0000000000000001", dry.replica.Status().SourceRun)
}

// A start without --adopt is written down, so that a later one with it counts again.
func TestAStartWithoutAdopt(t *testing.T) {
	b := made(t, Options{})
	for _, adopt := range []bool{true, false} {
		b.set(func(t *state.Tree) { t.Adopted = from })
		b.Adopt = adopt
		require.NoError(t, b.SetReplica(b.replica))
		require.Equal(t, adopt, b.replica.Tree().Adopted == from)
	}
}

// Serves of different options that answer by turns are named once.
func TestServesByTurnsAreNamed(t *testing.T) {
	b := made(t, Options{})
	named := 0
	for _, e := range []string{"f", "e", "f", "e"} {
		b.claim(rootOf(func(r *source.Root) { r.Fingerprint = e }))
		if strings.Contains(b.log.String(), "by turns") {
			named++
		}
		b.complete()
	}
	require.Equal(t, 1, named)
}

// At the end of a pass the copy takes over runs; lineage and place of its source only if no
// deletion is held, and none would be without --no-delete.
func TestCompleted(t *testing.T) {
	runs := []wire.Run{{ID: "000000000000000e"}}
	for _, c := range []struct {
		held      int64
		selection []string
		takes     bool
	}{
		{takes: true},
		{held: 1},
		{selection: []string{"- a", noLinks}, takes: true},
		{selection: []string{"- a", noDelete}},
		{held: 1, selection: []string{noDelete}},
	} {
		b := made(t, Options{Selection: c.selection})
		b.set(func(t *state.Tree) { t.Older, t.NoID, t.Place = 3, true, "here" })
		require.NoError(t, b.Completed(rootOf(func(r *source.Root) { r.Runs, r.Place = runs, "there" }), c.held))
		tree := b.replica.Tree()
		require.Equal(t, runs, tree.Runs)
		require.Equal(t, c.takes, tree.Epoch == 3 && tree.Older == 0 && tree.Place == "there", "%+v", c)
		require.Equal(t, !c.takes, tree.Epoch == 5 && tree.Older == 3 && tree.Place == "here", "%+v", c)
		require.NoError(t, b.Completed(rootOf(func(r *source.Root) { r.Runs, r.Place = nil, "" }), c.held))
		require.Equal(t, runs, b.replica.Tree().Runs)
		require.Equal(t, tree.Place, b.replica.Tree().Place)
		require.Equal(t, tree.Epoch, b.replica.Tree().Epoch)
		b.set(func(t *state.Tree) { t.NoID = false })
		require.NoError(t, b.Completed(rootOf(func(r *source.Root) { r.Place = "elsewhere" }), c.held))
		require.Equal(t, tree.Place, b.replica.Tree().Place)
	}
}

// What cannot be written ends a claim with the disk's error, and is done again the next
// time.
func TestAClaimThatIsNotWritten(t *testing.T) {
	for name, act := range map[string]func(b *bench) error{
		"claim": func(b *bench) error {
			_, err := b.Claim(context.Background(), rootOf(func(r *source.Root) { r.Fingerprint = "f" }))
			return err
		},
		"claim of another epoch": func(b *bench) error {
			_, err := b.Claim(context.Background(), rootOf(func(r *source.Root) { r.Tree.Epoch = 99 }))
			return err
		},
		"claim without a walk": func(b *bench) error {
			_, err := b.Claim(context.Background(), rootOf(func(r *source.Root) {
				r.Runs = append(r.Runs, wire.Run{ID: "000000000000000f"})
				r.Runs[0].Floor = &r.Stamp
			}))
			return err
		},
		"without an id": func(b *bench) error {
			claim, err := b.Claim(context.Background(), rootOf(func(r *source.Root) { r.Fingerprint, r.Tree = "f", source.Tree{} }))
			require.False(b.t, claim.Walk)
			return err
		},
		"completed": func(b *bench) error {
			return exit.With(exit.Local, b.Completed(rootOf(func(r *source.Root) { r.Runs = append(r.Runs, wire.Run{ID: "000000000000000f"}) }), 0), "")
		},
		"not adopted": func(b *bench) error { return b.SetReplica(b.replica) },
	} {
		b := made(t, Options{})
		b.set(func(t *state.Tree) { t.Adopted = from })
		was := b.replica.Tree()
		require.NoError(t, os.Rename(b.path+"/.tidemark", b.path+"/.moved"))
		require.NoError(t, os.RemoveAll(b.path+"/.moved"))
		err := act(b)
		require.Error(t, err, name)
		require.Equal(t, exit.Local, exit.Of(err), name)
		require.Equal(t, was, b.replica.Tree(), name)
	}
}
