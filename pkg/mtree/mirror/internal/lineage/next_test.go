package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// What a copy records of its source, from what it recorded before and what the source says.
func TestWhatACopyIsOf(t *testing.T) {
	runs := []wire.Run{{ID: "000000000000000a"}}
	nameless := func(t *state.Tree) { t.NoID, t.Place = true, "here" }
	none := func(r *source.Root) { r.Tree = source.Tree{} }
	for name, c := range map[string]struct {
		adopt bool
		copy  func(*state.Tree)
		root  func(*source.Root)
		more  replica.Doubts
		want  func(*state.Tree) // as after copy, and then
	}{
		"the same":                {},
		"another SOURCE":          {copy: func(t *state.Tree) { t.Upstream, t.Role = "http://b", "" }, want: func(t *state.Tree) { t.Upstream, t.Role = from, state.Copy }},
		"other filters":           {copy: func(t *state.Tree) { t.Filters = []string{"- *"} }, want: func(t *state.Tree) { t.Filters = nil }},
		"a later epoch":           {copy: func(t *state.Tree) { t.Older = 2 }, root: func(r *source.Root) { r.Tree.Epoch = 9 }, want: func(t *state.Tree) { t.Epoch, t.Older = 9, 0 }},
		"an older lineage":        {root: func(r *source.Root) { r.Tree.Epoch = 3 }, want: func(t *state.Tree) { t.Older = 3 }},
		"no longer an older one":  {copy: func(t *state.Tree) { t.Older = 3 }, want: func(t *state.Tree) { t.Older = 0 }},
		"an epoch that is hidden": {copy: func(t *state.Tree) { t.Older = 3 }, root: func(r *source.Root) { r.Tree.Epoch = 0 }},
		"another tree": {copy: func(t *state.Tree) { t.Older, t.Path = 3, "/a" }, root: func(r *source.Root) {
			r.Tree, r.TreePath, r.Runs = source.Tree{ID: theirs, Epoch: 2}, "", nil
		}, more: replica.DoubtBytes, want: func(t *state.Tree) { t.ID, t.Epoch, t.Older, t.Path, t.Runs = theirs, 2, 0, "", nil }},
		"adopted": {adopt: true, copy: func(t *state.Tree) { t.Older, t.Path = 3, "/a" }, root: func(r *source.Root) {
			r.Tree.Epoch, r.TreePath, r.Runs = 2, "", nil
		}, want: func(t *state.Tree) { t.Epoch, t.Older, t.Path, t.Runs, t.Adopted = 2, 0, "", nil, from }},
		"its directory is hidden": {copy: func(t *state.Tree) { t.Path = "/a" }, root: func(r *source.Root) { r.TreePath = "" }},
		"its directory is told":   {copy: func(t *state.Tree) { t.Path = "" }, root: func(r *source.Root) { r.TreePath = "/b" }, want: func(t *state.Tree) { t.Path = "/b" }},
		"another directory":       {copy: func(t *state.Tree) { t.Path = "/a" }, root: func(r *source.Root) { r.TreePath = "/b" }, want: func(t *state.Tree) { t.Path = "/b" }},
		"it has an id now":        {copy: func(t *state.Tree) { nameless(t); t.ID = theirs }, want: func(t *state.Tree) { t.ID, t.NoID, t.Place = ours, false, "" }},
		"without an id":           {copy: nameless, root: none, want: func(*state.Tree) {}},
		"its place is told":       {copy: func(t *state.Tree) { nameless(t); t.Place = "" }, root: func(r *source.Root) { none(r); r.Place = "there" }, want: func(t *state.Tree) { t.Place = "there" }},
		"its place is hidden":     {copy: nameless, root: func(r *source.Root) { none(r); r.Place = "" }},
		"another place":           {copy: nameless, root: func(r *source.Root) { none(r); r.Place = "there" }},
		"another place, adopted": {adopt: true, copy: nameless, root: func(r *source.Root) { none(r); r.Place = "there" }, want: func(t *state.Tree) {
			t.Place, t.Epoch, t.Adopted = "there", 0, from
		}},
		"a place of a tree with an id": {copy: func(t *state.Tree) { t.Place = "here" }, root: func(r *source.Root) { r.Place = "here" }, want: func(t *state.Tree) { t.Place = "" }},
		"new runs":                     {root: func(r *source.Root) { r.Runs = runs }, want: func(t *state.Tree) { t.Runs = runs }},
		"new runs, in doubt":           {root: func(r *source.Root) { r.Runs = runs }, more: replica.DoubtBytes},
		"no runs":                      {root: func(r *source.Root) { r.Runs = nil }},
		"a fingerprint":                {root: func(r *source.Root) { r.Fingerprint = "f" }, want: func(t *state.Tree) { t.Fingerprint = "f" }},
		"no fingerprint":               {root: func(r *source.Root) { r.Fingerprint = "" }},
		"its own id, of a source now":  {copy: func(t *state.Tree) { nameless(t); t.Epoch = 9 }, want: func(t *state.Tree) { t.NoID, t.Place, t.Epoch = false, "", 5 }},
		"no longer adopted":            {copy: func(t *state.Tree) { t.Adopted = from }, want: func(t *state.Tree) { t.Adopted = "" }},
	} {
		b := made(t, Options{})
		b.set(func(t *state.Tree) { t.Runs = []wire.Run{{ID: "0000000000000001"}} })
		if c.copy != nil {
			b.set(c.copy)
		}
		b.Adopt, b.adopted = c.adopt, false
		if c.root == nil {
			c.root = func(*source.Root) {}
		}
		want := b.replica.Tree()
		want.Bind(b.replica.Self)
		if c.want != nil {
			c.want(&want)
		}
		require.Equal(t, want, b.next(rootOf(c.root), c.more), name)
	}
}

// A copy whose files may have bytes from before the source was rolled back does not tell its
// own copies of the later run.
func TestRunsAreKeptBackInDoubt(t *testing.T) {
	b := made(t, Options{})
	require.NoError(t, b.replica.Distrust(replica.DoubtBytes))
	later := rootOf(func(r *source.Root) { r.Runs = []wire.Run{{ID: "000000000000000a"}} })
	require.Equal(t, b.replica.Tree().Runs, b.next(later, 0).Runs)
	b.complete()
	require.Equal(t, later.Runs, b.next(later, 0).Runs)
}

// A repair counted as a start without --adopt: the next start of a unit with --adopt adopted anew,
// whatever tree was at its SOURCE then.
func TestARepairIsNoStartWithoutAdopt(t *testing.T) {
	for _, repair := range []bool{false, true} {
		adopted := func(b *bench) bool { return b.replica.Tree().Adopted == from }
		b := made(t, Options{Repair: repair})
		b.set(func(t *state.Tree) { t.Adopted = from })
		b.claim(rootOf(func(*source.Root) {}))
		require.Equal(t, repair, adopted(b))
		b.set(func(t *state.Tree) { t.Adopted = from })
		require.NoError(t, b.SetReplica(b.replica))
		require.Equal(t, repair, adopted(b))
	}
}

// A source without an id gets one of the copy's own, which stays; the id of a tree that lost
// it is not that one.
func TestAnIDOfTheCopysOwn(t *testing.T) {
	nameless := rootOf(func(r *source.Root) { r.Tree = source.Tree{} })
	b := newBench(t, "", Options{}, replica.Options{})
	first := b.next(nameless, 0)
	require.True(t, first.NoID)
	require.Len(t, first.ID, 32)
	b.set(func(t *state.Tree) { *t = first })
	require.Equal(t, first.ID, b.next(nameless, 0).ID)
	b.set(func(t *state.Tree) { t.ID = "" })
	require.Len(t, b.next(nameless, 0).ID, 32)
	b.set(func(t *state.Tree) { t.ID, t.NoID = ours, false })
	require.NotEqual(t, ours, b.next(nameless, 0).ID)
}

// Each copy has a name of its own, which a copied copy gives up.
func TestTheNameOfACopy(t *testing.T) {
	b := made(t, Options{})
	root := rootOf(func(*source.Root) {})
	name := b.replica.Tree().Copy
	require.Len(t, name, 16)
	require.Equal(t, name, b.next(root, 0).Copy)
	b.set(func(t *state.Tree) { t.Inode++ })
	require.NotEqual(t, name, b.next(root, 0).Copy)
	require.True(t, ptr(b.next(root, 0)).BoundTo(b.replica.Self))
	b.set(func(t *state.Tree) { t.Bind(b.replica.Self); t.Copy = "" })
	require.Len(t, b.next(root, 0).Copy, 16)
}

func ptr(t state.Tree) *state.Tree { return &t }

// Which differences make a full walk due, with the reason that the log has, and which of them
// make the source's clock another one.
func TestWhatMakesAWalkDue(t *testing.T) {
	was := state.Tree{ID: ours, Upstream: from, Path: "/a", Epoch: 5, Filters: []string{"- a"}, Fingerprint: "e"}
	for _, c := range []struct {
		change func(*state.Tree)
		why    string
		clock  bool
	}{
		{func(*state.Tree) {}, "", false},
		{func(t *state.Tree) { t.ID = theirs }, "new to its source", true},
		{func(t *state.Tree) { t.NoID = true }, "new to its source", true},
		{func(t *state.Tree) { t.Upstream = "http://b" }, "another SOURCE", true},
		{func(t *state.Tree) { t.Path = "/b" }, "another directory", false},
		{func(t *state.Tree) { t.Older = 3 }, "another lineage", true},
		{func(t *state.Tree) { t.Epoch = 6 }, "another epoch", true},
		{func(t *state.Tree) { t.Filters = nil }, "other filters", false},
		{func(t *state.Tree) { t.Fingerprint = "f" }, "other options or rights", false},
		{func(t *state.Tree) { t.Copy, t.Dev, t.Runs = "c", 9, []wire.Run{{ID: "1"}} }, "", false},
	} {
		is := was
		c.change(&is)
		why := newIn(&was, &is)
		require.Contains(t, why, c.why)
		require.Equal(t, c.why == "", why == "", why)
		require.Equal(t, c.clock, otherClock(&was, &is), c.why)
	}
	spelt, unknown := was, was
	spelt.Upstream = "http://u:p@A/"
	require.Empty(t, newIn(&spelt, &was), "the same SOURCE")
	require.False(t, otherClock(&spelt, &was))
	unknown.Path = ""
	require.Empty(t, newIn(&unknown, &was), "its directory was not known")
}

// The log says why everything is compared.
func TestReasons(t *testing.T) {
	was := state.Tree{ID: ours, Upstream: from}
	is := was
	is.ID = theirs
	reason := func(sums, summed, adopt bool, is *state.Tree, more replica.Doubts) string {
		b := made(t, Options{})
		b.Sums, b.summed, b.Adopt, b.adopted = sums, summed, adopt, false
		return b.reason(&was, is, more)
	}
	require.Contains(t, reason(true, false, true, &is, replica.DoubtBytes), "--adopt --verify")
	require.Contains(t, reason(true, true, true, &is, replica.DoubtBytes), "rolled back")
	require.Contains(t, reason(false, false, true, &is, replica.DoubtBytes), "rolled back")
	require.Contains(t, reason(false, false, true, &is, replica.DoubtClock), "new to its source")
	require.Contains(t, reason(false, false, true, &was, 0), "--adopt: ")
	require.Contains(t, reason(false, false, false, &was, 0), "was lost")
}
