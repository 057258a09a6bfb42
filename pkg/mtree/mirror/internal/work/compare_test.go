package work

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// What a listing and the record of its directory say of time: whether the listing is older than
// the copy, whether the copy may go back by it, and whether it is one of the past, which deletes
// nothing. Of two copies behind one address both were unfinished, and complete last with the same
// root: what came from the one was deleted because the other did not have it yet.
func TestWhichListingIsOlder(t *testing.T) {
	olderStamp := func(v *VisitResult) { v.Listing.Stamp = before.Add(-1) }
	for name, c := range map[string]struct {
		set               func(v *VisitResult)
		other             bool
		copy              bool // the source is one, and not complete
		root              func(root *source.Root)
		older, back, past bool
	}{
		"later":                      {set: func(*VisitResult) {}},
		"the same":                   {set: func(v *VisitResult) { v.Listing.Stamp, v.Listing.Now = before, before }},
		"an older stamp":             {set: olderStamp, older: true, back: true},
		"so, of an unfinished copy":  {set: olderStamp, copy: true, older: true, back: true, past: true},
		"so, of a complete copy":     {set: olderStamp, copy: true, root: func(root *source.Root) { root.Hot = false }, older: true, back: true},
		"so, of a hot tree":          {set: olderStamp, copy: true, root: func(root *source.Root) { root.Upstreams = "" }, older: true, back: true},
		"so, stamps say nothing":     {set: olderStamp, copy: true, root: func(root *source.Root) { root.State = wire.Unwatched }, older: true, back: true},
		"so, in a full walk":         {set: func(v *VisitResult) { v.Listing.Stamp, v.Doubts = before.Add(-1), replica.DoubtBelow }, copy: true, older: true, back: true},
		"so, and unfinished itself":  {set: func(v *VisitResult) { v.Listing.Stamp, v.Listing.Hot = before.Add(-1), true }, copy: true, older: true, back: true},
		"later, of such a copy":      {set: func(*VisitResult) {}, copy: true},
		"so, of another server":      {set: olderStamp, other: true},
		"read before":                {set: func(v *VisitResult) { v.Listing.Now = before.Add(-1) }, older: true, back: true, past: true},
		"read before, of this stamp": {set: func(v *VisitResult) { v.Listing.Stamp, v.Listing.Now = before, before.Add(-1) }, older: true, back: true},
		"it does not say when":       {set: func(v *VisitResult) { v.Listing.Now, v.Listing.HasNow = mtree.Stamp{}, false }},
		"no record":                  {set: func(v *VisitResult) { v.Had, v.Before = false, records.Record{} }},
		"no record, from before 1970": {set: func(v *VisitResult) {
			v.Had, v.Before = false, records.Record{}
			v.Listing.Stamp, v.Listing.Now = mtree.Unix(-5, 0), mtree.Unix(-5, 0)
		}},
		"no record, of such a copy": {set: func(v *VisitResult) {
			v.Had, v.Before = false, records.Record{}
			v.Listing.Stamp = mtree.Unix(-5, 0)
		}, copy: true},
		"unfinished":                  {set: func(v *VisitResult) { v.Before.Stamp = mtree.MinStamp.Add(7) }},
		"unfinished, read before":     {set: func(v *VisitResult) { v.Before.Stamp, v.Listing.Now = mtree.MinStamp.Add(7), before.Add(-1) }, older: true, back: true, past: true},
		"another clock":               {set: func(v *VisitResult) { v.Doubts = replica.DoubtClock }, back: true},
		"another clock, this stamp":   {set: func(v *VisitResult) { v.Doubts, v.Listing.Stamp = replica.DoubtClock, before }},
		"another clock, read before":  {set: func(v *VisitResult) { v.Doubts, v.Listing.Now = replica.DoubtClock, before.Add(-1) }, older: true, back: true},
		"another clock, no record":    {set: func(v *VisitResult) { v.Doubts, v.Had, v.Before = replica.DoubtClock, false, records.Record{} }},
		"other doubts":                {set: func(v *VisitResult) { v.Doubts = replica.DoubtBytes | replica.DoubtBelow }},
		"read by a clock ahead of us": {set: func(v *VisitResult) { v.Before.Now = now.Add(source.AheadOfUs + 1) }, older: true, back: true},
		"by one that may be ahead":    {set: func(v *VisitResult) { v.Before.Now = now.Add(source.AheadOfUs) }, older: true, back: true, past: true},
	} {
		b := newBench(t, 0, "")
		if b.env.Root.OtherServer = c.other; c.copy {
			b.env.Root.Upstreams, b.env.Root.Hot = "host", true
		}
		if c.root != nil {
			c.root(b.env.Root)
		}
		v := &VisitResult{Before: records.Record{Stamp: before, Now: before, ID: ours}, Had: true}
		v.Listing = mtree.Listing{Stamp: now, Now: now, HasNow: true}
		c.set(v)
		require.Equal(t, c.older, b.env.isOlder(v), name)
		require.Equal(t, c.back, b.env.mayGoBack(v), name)
		require.Equal(t, c.past, b.env.isPast(v), name)
	}
}

// An epoch is named by a time in seconds; one that no clock shows is at the end of time.
func TestWhenAnEpochBegan(t *testing.T) {
	end, _ := mtree.MaxStamp.Unix()
	for epoch, want := range map[uint64]mtree.Stamp{
		0: {}, 5: mtree.Unix(5, 0), uint64(end) - 1: mtree.Unix(end-1, 0), uint64(end): mtree.MaxStamp, uint64(end) + 1: mtree.MaxStamp, math.MaxUint64: mtree.MaxStamp,
	} {
		require.Equal(t, want, epochBegan(epoch), epoch)
	}
}

// Which files of equal size and time are compared by their sums.
func TestWhichFilesAreCompared(t *testing.T) {
	const minute = time.Minute
	verify := func(b *bench, ctime mtree.Stamp) {
		b.touched("f", ctime)
		b.env.Verified.Add("d/f", &mtree.Entry{CTime: ctime}, now)
	}
	epoch := func(b *bench, at mtree.Stamp) {
		sec, _ := at.Unix()
		b.env.Root.Tree.Epoch, b.listing.Tree.Epoch = uint64(sec), uint64(sec)
	}
	for name, c := range map[string]struct {
		set    func(b *bench)
		doubts replica.Doubts
		checks bool
		bytes  bool // the bytes of all files here are doubted
	}{
		"none":                    {set: func(*bench) {}},
		"another directory":       {set: func(b *bench) { b.listing.ID = theirs }, checks: true, bytes: true},
		"an older listing":        {set: func(b *bench) { b.listing.Stamp = before.Add(-1) }, checks: true, bytes: true},
		"of unknown origin":       {set: func(b *bench) { b.record(records.Record{Stamp: before, Now: before}) }, checks: true, bytes: true},
		"what may be lost":        {set: func(b *bench) { b.record(inAnotherStay()) }, checks: true},
		"bytes are doubted":       {set: func(*bench) {}, doubts: replica.DoubtBytes, checks: true, bytes: true},
		"touched since":           {set: func(b *bench) { b.touched("f", before) }, checks: true},
		"touched long before":     {set: func(b *bench) { b.touched("f", before.Add(-11*time.Second)) }},
		"no time was recorded":    {set: func(b *bench) { b.record(records.Record{Stamp: before, ID: ours}); b.touched("f", before) }},
		"nothing was recorded":    {set: func(b *bench) { b.forget(); b.touched("f", before) }},
		"the record was lost":     {set: func(b *bench) { b.complete(); b.forget() }, checks: true, bytes: true},
		"compared since":          {set: func(b *bench) { verify(b, before) }},
		"power lost":              {set: func(b *bench) { b.touched("f", before.Add(-3*minute)) }, doubts: replica.DoubtRecent, checks: true},
		"power lost, compared":    {set: func(b *bench) { verify(b, before) }, doubts: replica.DoubtRecent, checks: true},
		"power lost long after":   {set: func(b *bench) { b.touched("f", before.Add(-6*minute)) }, doubts: replica.DoubtRecent},
		"no power lost":           {set: func(b *bench) { b.touched("f", before.Add(-3*minute)) }},
		"the epoch began earlier": {set: func(b *bench) { b.touched("f", before.Add(-30*minute)); epoch(b, before.Add(-30*minute)) }, doubts: replica.DoubtRecent, checks: true},
		"the epoch began later":   {set: func(b *bench) { b.touched("f", before.Add(-30*minute)); epoch(b, now) }, doubts: replica.DoubtRecent},
	} {
		b := newBench(t, 0, "f")
		epoch(b, now)
		c.set(b)
		v := b.try(Target{Path: "d", Doubts: c.doubts})
		require.NoError(t, v.Err, name)
		require.Equal(t, c.checks, namesOf(v.Plan.Check) == "f", name)
		require.Equal(t, c.bytes, v.Doubts&replica.DoubtBytes != 0, name)
		require.Equal(t, c.doubts, v.DoubtsBelow&^replica.DoubtBelow, "%s: what is below is doubted by itself", name)
		require.Empty(t, v.Plan.Fetch)
	}
}

// What a directory will be completed with: the listing, but for what is not compared with it, and
// what a proxy left out.
func TestWhatADirectoryIsCompletedWith(t *testing.T) {
	listed := records.Record{Stamp: now, Now: now, ID: ours}
	with := func(change func(r *records.Record)) records.Record { r := listed; change(&r); return r }
	for name, c := range map[string]struct {
		set    func(b *bench)
		doubts replica.Doubts
		want   records.Record
		clears bool // what was compared before
	}{
		"the listing":       {set: func(*bench) {}, want: listed},
		"another directory": {set: func(b *bench) { b.listing.ID = theirs }, want: with(func(r *records.Record) { r.ID = theirs })},
		"without an id":     {set: func(b *bench) { b.listing.ID = "" }, want: listed},
		"without a time": {set: func(b *bench) { b.listing.HasNow, b.listing.Now = false, mtree.Stamp{} },
			want: with(func(r *records.Record) { r.Now = before })},
		"ctimes of another clock": {set: func(b *bench) { b.listing.Behind = time.Minute },
			want: with(func(r *records.Record) { r.Now = now.Add(-time.Minute) })},
		"another directory, and what stays": {set: func(b *bench) {
			b.listing.ID, b.listing.Entries = theirs, nil
			b.env.NoDelete = true
			b.make("d", "old")
		}, want: with(func(r *records.Record) { r.Now, r.Fingerprint = never, "!" })},
		"another directory, and less stays than comes": {set: func(b *bench) { b.listing.ID = theirs; b.env.NoDelete = true; b.make("d", "old") },
			want: with(func(r *records.Record) { r.ID = theirs })},
		"another directory, and nothing stays": {set: func(b *bench) { b.listing.ID = theirs; b.env.NoDelete = true },
			want: with(func(r *records.Record) { r.ID = theirs })},
		"another directory, with directories": {set: func(b *bench) {
			b.listing.ID = theirs
			b.env.NoDelete = true
			b.make("d", "old/")
			b.list(dir("new"))
		}, want: with(func(r *records.Record) { r.ID = theirs })},
		"another directory, and ten times as much stays": {set: func(b *bench) {
			b.listing.ID = theirs
			b.env.NoDelete = true
			b.make("d", "0 1 2 3 4 5 6 7 8 9")
		}, want: with(func(r *records.Record) { r.Now, r.Fingerprint = never, "!" })},
		"another directory, empty, of a whole tree": {set: func(b *bench) {
			b.listing.ID, b.listing.Entries = theirs, nil
			b.env.NoDelete, b.env.Root.TreePath = true, "/"
		}, want: with(func(r *records.Record) { r.Now, r.Fingerprint = never, "!" })},
		"another directory, empty, and all goes": {set: func(b *bench) { b.listing.ID, b.listing.Entries = theirs, nil },
			want: with(func(r *records.Record) { r.ID = theirs })},
		"the same directory, empty, and what stays": {set: func(b *bench) { b.listing.Entries, b.env.NoDelete = nil, true }, want: listed},
		"the same directory, and what stays": {set: func(b *bench) {
			b.env.NoDelete = true
			b.make("d", "old")
		}, want: listed},
		"entries left out": {set: func(b *bench) { b.listing.Excluded = 2 }, want: with(func(r *records.Record) { r.Excluded, r.Fingerprint = 2, "e" })},
		"files that we exclude": {set: func(b *bench) { b.exclude("mine"); b.make("d", "mine") },
			want: with(func(r *records.Record) { r.Now = before })},
		"files that we exclude, no time": {set: func(b *bench) {
			b.record(records.Record{Stamp: before, ID: ours})
			b.exclude("mine")
			b.make("d", "mine")
		}, want: listed},
		"directories that we exclude": {set: func(b *bench) { b.exclude("mine"); b.make("d", "mine/") }, want: listed},
		"dotfiles that serve leaves out": {set: func(b *bench) { b.listing.Hidden = 1; b.make("d", ".x") },
			want: with(func(r *records.Record) { r.Now, r.Fingerprint = before, "!" })},
		"files that we exclude, doubted": {set: func(b *bench) { b.exclude("mine"); b.make("d", "mine") }, doubts: replica.DoubtBytes,
			want: with(func(r *records.Record) { r.Now = never }), clears: true},
		"files that we exclude, power lost": {set: func(b *bench) { b.exclude("mine"); b.make("d", "mine") }, doubts: replica.DoubtRecent,
			want: with(func(r *records.Record) { r.Now = mtree.Unix(5, 0).Add(10*time.Second - 5*time.Minute) }), clears: true},
	} {
		b := newBench(t, 0, "f")
		c.set(b)
		b.env.Verified.Add("d/f", &mtree.Entry{CTime: before}, now)
		v := b.try(Target{Path: "d", Doubts: c.doubts})
		require.NoError(t, v.Err, name)
		require.Equal(t, c.want, v.Record, name)
		require.Equal(t, c.clears, !b.env.Verified.has("d/f", &mtree.Entry{CTime: before}), name)
	}
}

// The root of a tree is known by the tree's id, so its record takes over another id of its own. A
// directory of a tree may be a mount point, also if the copy is one of that directory alone.
func TestTheRootOfATreeKeepsNoID(t *testing.T) {
	for path, want := range map[string]string{"/": theirs, "/a": ours, "": ours} {
		b := newBench(t, 0, "")
		b.env.NoDelete, b.env.Root.TreePath = true, path
		b.recordAt("", records.Record{Stamp: before, Now: before, ID: ours})
		root := *b.env.Root
		root.Stamp, root.Now, root.HasNow, root.ID = now, now, true, theirs
		v := b.env.Visit(t.Context(), Target{}, &root)
		require.NoError(t, v.Err)
		require.True(t, v.Plan.Spared > 0, "d stays")
		require.Equal(t, want, v.Record.ID, path)
	}
}

// exclude sets what is not copied.
func (b *bench) exclude(globs ...string) {
	var err error
	b.env.Filters, err = glob.Excluding(globs)
	require.NoError(b.t, err)
	b.env.Replica.Filters = b.env.Filters
}

// What filters exclude is neither fetched nor deleted, and not listed.
func TestWhatIsExcluded(t *testing.T) {
	b := newBench(t, 0, "f mine/ mine/x")
	b.exclude("mine", "theirs")
	b.list(gone("mine"), file("theirs"), file("new"))
	v := b.visit()
	require.Equal(t, "new", namesOf(v.Plan.Fetch))
	require.Empty(t, v.goes())
	require.Len(t, v.Listing.Entries, 2)
}

// What the source may hide is kept: if what is below is doubted, anything, for the number of
// entries left out may be one of other options.
func TestWhatTheSourceMayHide(t *testing.T) {
	for doubts, want := range map[replica.Doubts]string{0: "old", replica.DoubtBelow: "", replica.DoubtBytes: "old"} {
		b := newBench(t, 0, "f old e/")
		b.list(gone("old"), gone("e"))
		b.listing.Excluded = 1
		v := b.try(Target{Path: "d", Doubts: doubts})
		require.NoError(t, v.Err)
		require.Equal(t, want, v.goes(), doubts)
	}
}

// With --no-delete only that goes which was held before.
func TestWhatWasHeldMayGo(t *testing.T) {
	b := newBench(t, 0, "f old other")
	list := replica.HeldList{Entries: []replica.Deletion{{Path: "d/old", Kind: mtree.File, Entries: 1, Why: "a reason"}}}
	require.NoError(t, b.env.Replica.SetHeld(&list))
	list, err := b.env.Replica.Held()
	require.NoError(t, err)
	b.env.Held, b.env.NoDelete = &list, true
	b.list(gone("old"), gone("other"))
	require.Equal(t, "old", b.visit().goes())
}

// Which directories are visited: those that are not complete with the listed stamp, or all, if
// they may be others, are doubted, or stamps say nothing.
func TestWhichDirectoriesAreVisited(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(b *bench)
		doubts replica.Doubts
		below  string
	}{
		"those that differ":    {set: func(*bench) {}, below: "a new"},
		"all, below another":   {set: func(b *bench) { b.listing.ID = theirs }, below: "a done new"},
		"all, in doubt":        {set: func(*bench) {}, doubts: replica.DoubtBelow, below: "a done new"},
		"all, without stamps":  {set: func(b *bench) { b.env.Root.State = wire.Unwatched }, below: "a done new"},
		"their bytes in doubt": {set: func(*bench) {}, doubts: replica.DoubtBytes, below: "a new"},
	} {
		b := newBench(t, 0, "a/ done/")
		b.recordAt("d/done", records.Record{Stamp: now, Now: now})
		b.list(dir("a"), dir("done"), dir("new"))
		c.set(b)
		v := b.try(Target{Path: "d", Doubts: c.doubts})
		require.NoError(t, v.Err, name)
		require.Equal(t, c.below, namesOf(v.Below), name)
		for _, c := range v.Below {
			require.Equal(t, c.Want.Name == "new", IsFresh(c))
		}
	}
	b := newBench(t, 0, "x")
	b.list(dir("x"))
	require.True(t, IsFresh(b.visit().Below[0]), "it takes the place of a file")
}

// Symlinks are left out if they are not wanted, or if the copy's disk holds none.
func TestSymlinksThatAreLeftOut(t *testing.T) {
	for _, c := range []struct{ unwanted, unable bool }{{}, {unwanted: true}, {unable: true}} {
		b := newBench(t, 0, "f")
		b.list(entry(mtree.Symlink, "l"))
		b.env.NoLinks, b.env.Replica.NoLinks = c.unwanted, c.unable
		v := b.visit()
		require.Equal(t, c.unwanted || c.unable, len(v.Plan.SkippedLinks) == 1)
		require.Equal(t, c.unwanted || c.unable, len(v.Plan.MakeLinks) == 0)
	}
}

// A plan to verify trusts nothing, and takes what the listing leaves open for equal; it has
// nothing of what filters exclude, and leaves the listing as it is.
func TestAPlanToVerify(t *testing.T) {
	b := newBench(t, 0, "f mine")
	b.exclude("mine", "theirs")
	b.list(gone("mine"), file("theirs"))
	b.approximate()
	b.listing.Entries[0].Size = 1
	listing := b.listing
	dir, err := b.env.Replica.Dir("d")
	require.NoError(t, err)
	defer dir.Close()
	p, err := b.env.PlanToVerify(dir, "d", &listing)
	require.NoError(t, err)
	require.Equal(t, "f", namesOf(p.Check))
	require.Empty(t, p.Fetch)
	require.Empty(t, p.Extra)
	require.Len(t, listing.Entries, 2)
	require.NotEqual(t, longAgo, listing.Entries[0].MTime)
	require.Zero(t, b.changes)
}
