package work

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A listing of the past removes nothing: neither an entry, nor one of another kind. What it adds
// is added.
func TestAListingOfThePast(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(b *bench)
		past bool
	}{
		"a later one":                    {set: func(b *bench) { b.list(gone("old")) }},
		"out of a cache":                 {set: func(b *bench) { b.list(gone("old")); b.listing.Past = true }, past: true},
		"an earlier one":                 {set: func(b *bench) { b.list(gone("old")); b.listing.Now = before.Add(-1) }, past: true},
		"something has another kind":     {set: func(b *bench) { b.list(dir("old")); b.listing.Past = true }, past: true},
		"out of a cache, nothing goes":   {set: func(b *bench) { b.list(file("new")); b.listing.Past = true }},
		"an earlier one, something came": {set: func(b *bench) { b.list(file("new")); b.listing.Now = before.Add(-1) }},
	} {
		b := newBench(t, 0, "f old")
		c.set(b)
		v := b.try(Target{Path: "d"})
		if c.past {
			require.ErrorIs(t, v.Err, ErrPast, name)
			require.ErrorIs(t, v.Err, source.ErrMoved)
			require.Zero(t, b.changes, name)
			continue
		}
		require.NoError(t, v.Err, name)
	}
}

// Parts brought what came since, and left the recorded `now` as it was. Then a cache gave the listing from
// before the parts: it was taken for one of now, and what they had brought was deleted.
func TestTheListingBeforeTheParts(t *testing.T) {
	b := newBench(t, 0, "f old")
	b.list(gone("old"))
	b.listing.Stamp, b.listing.Now = before, before
	b.record(records.Record{Stamp: now, Now: before, ID: ours})
	require.ErrorIs(t, b.try(Target{Path: "d"}).Err, ErrPast)
	require.Zero(t, b.changes)
}

// The serve of a source kept a listing in memory, from before that of an older copy which answered
// at its address for a while. Deletions waited for as long as it kept it: for good in a tree at
// rest. It is asked to read the directory. Of the root, with which the pass began, only `now` may
// be another.
func TestAListingOfThePastIsReadAnew(t *testing.T) {
	for name, c := range map[string]struct {
		anew  func(l *source.Dir)
		root  bool // it is the root, and the source has listed it later
		above bool // a listing above is of the past
		past  bool
	}{
		"the same, later":           {anew: func(l *source.Dir) { l.Now = now }},
		"another, later":            {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(1) }},
		"an earlier stamp":          {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(-1) }, past: true},
		"out of a cache again":      {anew: func(*source.Dir) {}, past: true},
		"later, out of a cache":     {anew: func(l *source.Dir) { l.Now, l.Direct = now, false }, past: true},
		"later, and still past":     {anew: func(l *source.Dir) { l.Now = before.Add(-1) }, past: true},
		"without a time":            {anew: func(l *source.Dir) { l.HasNow, l.Now = false, now }, past: true},
		"of another tree":           {anew: func(l *source.Dir) { l.Now, l.Tree.Epoch = now, 6 }, past: true},
		"below a listing of past":   {anew: func(l *source.Dir) { l.Now = now }, above: true, past: true},
		"the root, the same, later": {anew: func(l *source.Dir) { l.Now = now }, root: true},
		"the root, another, later":  {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(1) }, root: true, past: true},
		"the root out of a cache":   {anew: func(*source.Dir) {}, root: true, past: true},
	} {
		b := newBench(t, 0, "f old")
		b.list(gone("old"))
		b.listing.Now, b.anew = before.Add(-2), c.anew
		target := Target{Path: "d", Listed: now, Past: c.above}
		var given *source.Root
		if c.root {
			target.Listed, b.listing.Past = mtree.Stamp{}, true
			root := *b.env.Root
			root.Dir = b.listing
			given = &root
		}
		v := b.env.Visit(t.Context(), target, given)
		require.Equal(t, c.past, errors.Is(v.Err, ErrPast), name)
		if !c.past {
			require.NoError(t, v.Err, name)
			require.Equal(t, "old", v.goes(), name)
			require.Equal(t, now, v.Record.Now, name)
			require.False(t, v.Past, name)
		}
	}
}
