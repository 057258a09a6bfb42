package work

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// Which extra entries become deletions, with all below them, and which reasons of their own
// they have. What cannot be measured as a whole is a failure and stays.
func TestWhatAVisitWouldDelete(t *testing.T) {
	b := newBench(t, 0, "f old dir/ dir/f dir/g tree/ tree/.tidemark/ mine/ mine/x keep/ keep/x keep/f bad/ bad/f bad/sub/")
	var err error
	b.env.Filters, err = glob.Excluding([]string{"x"})
	require.NoError(t, err)
	b.env.Replica.Filters = b.env.Filters
	b.list(gone("old"), gone("dir"), gone("tree"), gone("mine"), gone("keep"), gone("bad"))
	b.Fail = func(call string) error {
		if call == "list sub" {
			return unix.EIO
		}
		return nil
	}
	v := b.visit()
	require.Equal(t, "dir keep old tree(tree)", v.goes())
	entries := map[string]int64{}
	for i := range v.Deletions {
		entries[v.Deletions[i].Path] = v.Deletions[i].Entries
	}
	require.Equal(t, map[string]int64{"d/dir": 3, "d/keep": 1, "d/old": 1, "d/tree": 1}, entries)
	require.Equal(t, int64(2), v.Stays, "for what is excluded")
	require.Len(t, v.Failed, 1)
	require.Equal(t, "d/bad", v.Failed[0].Path)
	require.ErrorIs(t, v.Failed[0].Err, unix.EIO)
	require.True(t, replica.IsLocal(v.Failed[0].Err))
}

// In the root of another tree or copy, and below it, nothing is deleted without a release.
func TestWhatIsInAnotherTree(t *testing.T) {
	for name, c := range map[string]struct {
		marker bool
		target Target
		why    string
	}{
		"in none":        {why: "old"},
		"it is the root": {marker: true, why: "old(tree)"},
		"the root above": {target: Target{Nested: true}, why: "old(tree)"},
	} {
		b := newBench(t, 0, "f old")
		if c.marker {
			b.make("d", ".tidemark/")
		}
		b.list(gone("old"))
		c.target.Path = "d"
		v := b.try(c.target)
		require.NoError(t, v.Err, name)
		require.Equal(t, c.why, v.goes(), name)
		require.Equal(t, c.why == "old(tree)", v.Nested, name)
	}
	// The copy has a marker of its own, and a directory that was just made has none.
	b := newBench(t, 0, "f")
	root := *b.env.Root
	root.Entries = []mtree.Entry{dir("d")}
	root.Stamp = now
	v := b.env.Visit(t.Context(), Target{}, &root)
	require.NoError(t, v.Err)
	require.False(t, v.Nested)
	b.Made("")
	v = b.try(Target{Path: "d", Fresh: true})
	require.NoError(t, v.Err)
	require.Zero(t, b.Made("statx .tidemark"))
}

// Whether a directory came back as another one, without what it had: a disk may not be mounted
// there. Then nothing of it goes, until the entries are back, or it is filled. Of two copies behind
// one address each has directories of its own: what was deleted while one of them went away for
// good was held for good.
func TestADirectoryThatWasEmptied(t *testing.T) {
	files := func(n int) (l []mtree.Entry) {
		for i := range n {
			l = append(l, file(string(rune('a'+i))))
		}
		return l
	}
	held := func(why string, paths ...string) (l []replica.Deletion) {
		for _, path := range paths {
			l = append(l, replica.Deletion{Path: path, Kind: mtree.File, Entries: 1, Why: why})
		}
		return l
	}
	const many = replica.Few + 1
	for name, c := range map[string]struct {
		was, is string // ids
		listed  []mtree.Entry
		gone    int64 // entries that would go
		stay    int64 // entries of the copy that would not
		kept    int   // of these, those that the source may hide
		held    []replica.Deletion
		doubts  replica.Doubts
		begun   bool       // it was not complete before
		copy    wire.State // of a source that is a copy
		want    bool
	}{
		"another, empty":                       {was: ours, is: theirs, gone: 1, want: true},
		"the same, empty":                      {was: ours, is: ours, gone: 200},
		"it had no id":                         {was: "", is: theirs, gone: 200},
		"it has no id":                         {was: ours, is: "", gone: 200},
		"another, with a few files":            {was: ours, is: theirs, listed: files(10), gone: many, want: true},
		"another, with some files":             {was: ours, is: theirs, listed: files(11), gone: many},
		"with as few as a tenth":               {was: ours, is: theirs, listed: files(11), gone: 110, want: true},
		"with a file, for not many":            {was: ours, is: theirs, listed: files(1), gone: replica.Few},
		"with a directory":                     {was: ours, is: theirs, listed: []mtree.Entry{dir("e")}, gone: 200},
		"something of it is there":             {was: ours, is: theirs, gone: 200, stay: 1},
		"the source may hide something of it":  {was: ours, is: theirs, gone: 200, stay: 1, kept: 1, want: true},
		"held before, and part of it is there": {was: ours, is: theirs, listed: files(1), gone: 50, stay: 1, held: held(replica.WhyEmptied, "d/old"), want: true},
		"held before, without an id now":       {was: ours, is: "", gone: 50, held: held(replica.WhyEmptied, "d/old"), want: true},
		"held before, the record is lost":      {was: "", is: theirs, gone: 50, held: held(replica.WhyEmptied, "d/old"), want: true},
		"held before, and it is back":          {was: ours, is: ours, gone: 50, held: held(replica.WhyEmptied, "d/old")},
		"held before, and filled":              {was: ours, is: theirs, listed: files(6), gone: 50, stay: 1, held: held(replica.WhyEmptied, "d/old")},
		"held before, and one is back":         {was: ours, is: theirs, listed: files(1), gone: 50, stay: 1, held: held(replica.WhyEmptied, "d/a", "d/old")},
		"held for something else":              {was: ours, is: theirs, listed: files(1), gone: 50, stay: 1, held: held("a reason", "d/old")},
		"of a copy":                            {was: ours, is: theirs, gone: 1, copy: wire.Mirrored},
		"of a copy, held before":               {was: ours, is: theirs, gone: 1, copy: wire.Stale, held: held(replica.WhyEmptied, "d/old")},
		"of a copy that was copied":            {was: ours, is: theirs, gone: 1, copy: wire.Unwatched, want: true},
		"held elsewhere":                       {was: ours, is: theirs, listed: files(1), gone: 50, stay: 1, held: held(replica.WhyEmptied, "e/old")},
		"by other options than before":         {was: ours, is: theirs, listed: files(1), gone: 10, stay: 1, doubts: replica.DoubtHidden, want: true},
		"by other options, and filled":         {was: ours, is: theirs, listed: files(2), gone: 10, stay: 2, doubts: replica.DoubtHidden},
		"by other options, the same":           {was: ours, is: ours, gone: 200, doubts: replica.DoubtHidden},
		"by other options, it had no id":       {was: "", is: theirs, gone: 200, doubts: replica.DoubtHidden},
		"the hold was lost":                    {was: ours, is: theirs, listed: files(1), gone: many, stay: 1, begun: true, want: true},
		"the hold was lost, of the same":       {was: ours, is: ours, listed: files(1), gone: many, stay: 1, begun: true},
		"other doubts":                         {was: ours, is: theirs, listed: files(1), gone: 10, stay: 1, doubts: replica.DoubtBelow | replica.DoubtBytes},
	} {
		b := newBench(t, 0, "")
		list := replica.HeldList{Entries: c.held}
		require.NoError(t, b.env.Replica.SetHeld(&list))
		list, err := b.env.Replica.Held()
		require.NoError(t, err)
		b.env.Held = &list
		root := *b.env.Root
		if b.env.Root = &root; c.copy != "" {
			root.Upstreams, root.State = "host 1.000000000 -", c.copy
		}
		v := &VisitResult{Before: records.Record{ID: c.was}, Had: true, InCopy: 1 + c.stay, Doubts: c.doubts}
		if c.begun {
			v.Before.Stamp = mtree.MinStamp
		}
		v.Listing.ID, v.Listing.Entries = c.is, c.listed
		v.Plan.Extra = []*mtree.Entry{{Name: "old"}}
		for range c.kept {
			v.Plan.Kept = append(v.Plan.Kept, &mtree.Entry{})
		}
		deletions := []replica.Deletion{{Path: "d/old", Entries: c.gone}}
		require.Equal(t, c.want, b.env.isEmptied(&Target{Path: "d"}, v, deletions), name)
	}
}

// The reason is that of all deletions there but those that have another one.
func TestTheReasonOfAnEmptiedDirectory(t *testing.T) {
	b := newBench(t, 0, "old tree/ tree/.tidemark/")
	b.list(gone("old"), gone("tree"))
	b.listing.ID = theirs
	require.Equal(t, "old(emptied) tree(tree)", b.visit().goes())
	b.listing.ID = ours
	require.Equal(t, "old tree(tree)", b.visit().goes())
}
