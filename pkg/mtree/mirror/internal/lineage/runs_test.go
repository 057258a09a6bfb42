package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Times that are not stamps of the source's watch do not count as such: those of an
// unfinished directory of a copy, and below the root those of the kernel.
func TestTimesThatAreNoStamps(t *testing.T) {
	hot := &mtree.Listing{Stamp: mtree.Unix(1_000, 0), Hot: true}
	require.False(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, hot, false))
	require.False(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, hot, true))
	require.True(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, &mtree.Listing{}, false))
	require.True(t, isStamp(&source.Root{State: wire.Watched}, hot, false))
	require.False(t, isStamp(&source.Root{State: wire.Audited}, hot, false))
	require.True(t, isStamp(&source.Root{State: wire.Audited}, hot, true))
}

// Alternating fingerprints are reported once. A copy that lost its .tidemark has no
// fingerprint.
func TestFlapping(t *testing.T) {
	var f flapping
	require.False(t, f.note("", "a"))
	require.False(t, f.note("a", "b"))
	require.False(t, f.note("", "a"))
	require.True(t, f.note("b", "a"))
	require.False(t, f.note("a", "b"), "it was reported")
	require.False(t, f.note("b", "b"))
	require.False(t, f.note("b", "a"))

	f = flapping{}
	require.False(t, f.note("a", "a"))
	require.False(t, f.note("a", "a"), "the same again")
	require.False(t, f.note("a", "b"))
	require.False(t, f.note("b", "c"))
	require.False(t, f.note("c", "c"))
	require.True(t, f.note("c", "a"), "however long ago")
}

// A cache gave a mirror the root from before one that an earlier mirror of this copy had seen. What
// came since, and was made in the copy by then, was deleted.
func TestARootOfThePast(t *testing.T) {
	for name, c := range map[string]struct {
		root func(r *source.Root)
		past bool
	}{
		"the same":          {root: func(*source.Root) {}},
		"before":            {root: func(r *source.Root) { r.Stamp, r.Now = mtree.Unix(99, 0), mtree.Unix(109, 0) }, past: true},
		"set back since":    {root: func(r *source.Root) { r.Stamp, r.Now = mtree.Unix(99, 0), mtree.Unix(110, 0) }},
		"read earlier":      {root: func(r *source.Root) { r.Now = mtree.Unix(109, 0) }},
		"at a time unknown": {root: func(r *source.Root) { r.Stamp, r.HasNow, r.Now = mtree.Unix(99, 0), false, mtree.Stamp{} }},
		"of another run": {root: func(r *source.Root) {
			r.Stamp, r.Now, r.Runs = mtree.Unix(99, 0), mtree.Unix(109, 0), runsOf("0000000000000002")
		}},
		"of no run":        {root: func(r *source.Root) { r.Stamp, r.Now, r.Runs = mtree.Unix(99, 0), mtree.Unix(109, 0), nil }},
		"in another epoch": {root: func(r *source.Root) { r.Stamp, r.Now, r.Tree.Epoch = mtree.Unix(99, 0), mtree.Unix(109, 0), 99 }},
		"nobody keeps it":  {root: func(r *source.Root) { r.Stamp, r.Now, r.State = mtree.Unix(99, 0), mtree.Unix(109, 0), wire.Audited }},
		"before, and it is audited": {root: func(r *source.Root) {
			r.Stamp, r.Now, r.State = mtree.Unix(99, 0), mtree.Unix(109, 0), wire.Auditing
		}, past: true},
		"before, and some cannot be read": {root: func(r *source.Root) {
			r.Stamp, r.Now, r.State = mtree.Unix(99, 0), mtree.Unix(109, 0), wire.Degraded
		}, past: true},
		"of another tree": {root: func(r *source.Root) { r.Stamp, r.Now, r.Tree.ID = mtree.Unix(99, 0), mtree.Unix(109, 0), theirs }},
		"of a copy, whatever it says of itself": {root: func(r *source.Root) {
			r.Stamp, r.Now, r.Upstreams = mtree.Unix(99, 0), mtree.Unix(109, 0), "host"
		}},
		"of a copy": {root: func(r *source.Root) {
			r.Stamp, r.Now, r.Upstreams, r.State = mtree.Unix(99, 0), mtree.Unix(109, 0), "host", wire.Mirrored
		}},
		"of an older lineage":  {root: func(r *source.Root) { r.Stamp, r.Now = mtree.Unix(99, 0), mtree.Unix(109, 0) }, past: true},
		"of a clock far ahead": {root: func(r *source.Root) { r.Stamp, r.Now = mtree.Unix(200, 0), mtree.Unix(199, 0) }},
	} {
		b := made(t, Options{})
		seen := rootOf(func(r *source.Root) { r.Stamp, r.Now, r.HasNow = mtree.Unix(101, 0), mtree.Unix(110, 0), true })
		if name == "of a clock far ahead" {
			seen.Stamp, seen.Now = mtree.Unix(300, 0), mtree.Unix(200, 0)
		}
		b.claim(seen)
		if name == "of an older lineage" {
			b.set(func(t *state.Tree) { t.Epoch, t.Older = 90, t.Epoch })
		}
		root := rootOf(func(r *source.Root) {
			r.Stamp, r.Now, r.HasNow = mtree.Unix(101, 0), mtree.Unix(120, 0), true
			c.root(r)
		})
		b.Adopt, b.adopted = name == "of another tree", false
		b.claim(root)
		require.Equal(t, c.past, root.Past, name)
	}
}

// What a source shows without a watch, or while it changes, is not certain. Counted all the same, a
// later listing of the watch seemed to come from the past. A source that does not say when it read the
// root shows it for certain.
func TestTheRootASourceShowsForCertain(t *testing.T) {
	for name, c := range map[string]struct {
		root func(r *source.Root)
		is   bool
	}{
		"watched":           {root: func(*source.Root) {}, is: true},
		"read later":        {root: func(r *source.Root) { r.Now, r.HasNow = mtree.Unix(100, 0), true }, is: true},
		"read earlier":      {root: func(r *source.Root) { r.Now, r.HasNow = mtree.Unix(99, 0), true }},
		"nobody watches it": {root: func(r *source.Root) { r.State = wire.Audited }},
		"it changes":        {root: func(r *source.Root) { r.Hot = true }},
		"a copy":            {root: func(r *source.Root) { r.State, r.Upstreams = wire.Mirrored, "host" }, is: true},
	} {
		require.Equal(t, c.is, wholeRoot(rootOf(c.root)) != nil, name)
	}
	b := made(t, Options{})
	require.Equal(t, mtree.Unix(100, 0), *b.replica.Status().SourceWhole)
	require.Equal(t, mtree.Unix(100, 0), *b.replica.Status().SourceSure)
	require.Nil(t, b.replica.Status().SourceRead, "it did not say")
}

// A kill came after the stamps of another epoch were forgotten, and before the ones of this epoch were
// noted. The next start compared with stamps that were not there.
func TestAKillWhileStampsAreForgotten(t *testing.T) {
	b := made(t, Options{})
	require.NoError(t, b.forgetTop())
	for _, change := range []func(*source.Root){
		func(r *source.Root) { r.Now, r.HasNow = mtree.Unix(109, 0), true },
		func(r *source.Root) { r.Upstreams = "host" },
		func(r *source.Root) { r.State = wire.Mirrored; unfinished(200)(r); r.Runs = runsOf("0000000000000001") },
	} {
		root := rootOf(change)
		require.False(t, b.isOlder(root))
		require.False(t, b.isPast(root))
	}
	root := rootOf(func(r *source.Root) { r.Now, r.HasNow, r.Stamp = mtree.Unix(109, 0), true, mtree.Unix(50, 0) })
	require.NoError(t, b.replica.UpdateStatus(func(s *state.Status) bool { s.SourceWhole = new(mtree.Unix(100, 0)); return true }))
	require.False(t, b.isPast(root), "when it was read is not known")
}
