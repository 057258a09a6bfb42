package work

import (
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// A listing of the past removes nothing: neither an entry, nor one of another kind. What it adds
// is added.
func TestAListingOfThePast(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(b *bench)
		above bool // a listing above is of the past
		past  bool
	}{
		"a later one":                    {set: func(b *bench) { b.list(gone("old")) }},
		"out of a cache":                 {set: func(b *bench) { b.list(gone("old")); b.listing.Past = true }, past: true},
		"an earlier one":                 {set: func(b *bench) { b.list(gone("old")); b.listing.Now = before.Add(-1) }, past: true},
		"an earlier stamp than above":    {set: func(b *bench) { b.list(gone("old")); b.listing.Stamp = now.Add(-1) }},
		"below one of the past":          {set: func(b *bench) { b.list(gone("old")) }, above: true, past: true},
		"something has another kind":     {set: func(b *bench) { b.list(dir("old")); b.listing.Past = true }, past: true},
		"out of a cache, nothing goes":   {set: func(b *bench) { b.list(file("new")); b.listing.Past = true }},
		"an earlier one, something came": {set: func(b *bench) { b.list(file("new")); b.listing.Now = before.Add(-1) }},
	} {
		b := newBench(t, 0, "f old")
		c.set(b)
		v := b.try(Target{Path: "d", Listed: now, Past: c.above})
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
	var b *bench
	for name, c := range map[string]struct {
		anew   func(l *source.Dir)
		root   bool        // it is the root, and the source has listed it later
		above  bool        // a listing above is of the past
		listed mtree.Stamp // `now` of the listing; zero: from before that of the record
		stamp  mtree.Stamp // of the listing; zero: the one that is listed above
		err    error
	}{
		"the same, later":                   {anew: func(l *source.Dir) { l.Now = now }},
		"another, later":                    {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(1) }},
		"an earlier stamp":                  {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(-1) }, err: ErrPast},
		"out of a cache again":              {anew: func(*source.Dir) {}, err: ErrPast},
		"later, out of a cache":             {anew: func(l *source.Dir) { l.Now, l.Direct = now, false }, err: ErrPast},
		"later, and still past":             {anew: func(l *source.Dir) { l.Now = before.Add(-1) }, err: ErrPast},
		"without a time":                    {anew: func(l *source.Dir) { l.HasNow, l.Now = false, now }, err: ErrPast},
		"of another tree":                   {anew: func(l *source.Dir) { l.Now, l.Tree.Epoch = now, 6 }, err: ErrPast},
		"below a listing of past":           {anew: func(l *source.Dir) { l.Now = now }, above: true, err: ErrPast},
		"the root, the same, later":         {anew: func(l *source.Dir) { l.Now = now }, root: true},
		"the root, another, later":          {anew: func(l *source.Dir) { l.Now, l.Stamp = now, now.Add(1) }, root: true, err: ErrPast},
		"the copy itself":                   {anew: func(l *source.Dir) { l.Now, l.Node = now, b.env.Replica.Self.Node }, err: overlap.Err},
		"the root, from before 1970":        {anew: func(l *source.Dir) { l.Now = now }, root: true, stamp: mtree.Unix(-5, 0)},
		"the root, listed since":            {anew: func(l *source.Dir) { l.Now = now }, root: true, listed: now.Add(-1)},
		"the root, and it has no later one": {anew: func(*source.Dir) {}, root: true, listed: now.Add(-1), err: ErrPast},
		"the root out of a cache":           {anew: func(*source.Dir) {}, root: true, err: ErrPast},
	} {
		b = newBench(t, 0, "f old")
		b.list(gone("old"))
		b.listing.Now, b.anew = cmp.Or(c.listed, before.Add(-2)), c.anew
		b.listing.Stamp = cmp.Or(c.stamp, now)
		target := Target{Path: "d", Listed: now, Past: c.above}
		var given *source.Root
		if c.root {
			target.Listed, b.listing.Past = mtree.Stamp{}, true
			root := *b.env.Root
			root.Dir = b.listing
			given = &root
		}
		v := b.env.Visit(t.Context(), target, given)
		require.ErrorIs(t, v.Err, c.err, name)
		if c.err == nil {
			require.Equal(t, "old", v.goes(), name)
			require.Equal(t, now, v.Record.Now, name)
			require.False(t, v.Past, name)
		}
	}
}
