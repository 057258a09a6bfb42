package work

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"

	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// later is when the source tells a part: the whole listing before was an hour ago.
var later = before.Add(time.Hour)

// tells lets the source tell a part first, to who has the stamp before.
func (b *bench) tells(gone string, entries ...mtree.Entry) *mtree.Listing {
	b.part = &mtree.Listing{
		Stamp: now, Now: later, HasNow: true, ID: ours, Entries: entries, Gone: strings.Fields(gone),
		Part: []mtree.Span{{From: longAgo, To: longAgo.Add(1)}, {From: before, To: before}},
	}
	return b.part
}

// wholes returns how often the whole listing was asked for after a part.
func (b *bench) wholes() int { return len(b.asked) - 1 }

// A part tells what is new and what is gone; all else in the copy is taken as it is.
func TestAPart(t *testing.T) {
	b := newBench(t, 0, "f g old e/ link x/ y")
	link := entry(mtree.Symlink, "link")
	b.tells("never old y", dir("e"), file("f"), link, file("new"), dir("x"))
	b.part.Entries[1].Size = 7
	v := b.visit()
	require.Zero(t, b.wholes())
	require.Equal(t, "f new", namesOf(v.Plan.Fetch))
	require.Equal(t, "link", namesOf(v.Plan.MakeLinks))
	require.Equal(t, "e x", namesOf(v.Below))
	require.Equal(t, "old y", v.goes())
	require.True(t, v.Begun)
	require.True(t, b.recorded("d").IsUnfinished())
}

// A part in which everything is as in the copy changes nothing.
func TestAPartWithoutNews(t *testing.T) {
	b := newBench(t, 0, "f g")
	b.tells("old", file("f"))
	b.part.Entries[0].Size = 1
	b.part.Entries[0] = b.has()[0]
	v := b.visit()
	require.Zero(t, b.wholes())
	require.Empty(t, v.Plan.Fetch)
	require.False(t, v.Begun)
	require.Empty(t, v.Deletions)
}

// What a part is applied to: each of these lets the visit ask for the whole listing, before
// anything is changed. With it, g is gone as well.
func TestWhichPartsSuffice(t *testing.T) {
	record := func(change func(r *records.Record)) func(b *bench, _ *Target) {
		return func(b *bench, _ *Target) {
			r := b.recorded("d")
			change(&r)
			b.record(r)
		}
	}
	for name, set := range map[string]func(b *bench, t *Target){
		"it does": nil,

		"left open by an earlier pass": func(_ *bench, t *Target) { t.Open = true },
		"doubted":                      func(_ *bench, t *Target) { t.Doubts = replica.DoubtRecent },
		"touched since": func(b *bench, _ *Target) {
			sec, nsec := before.Unix()
			require.NoError(b.t, b.Shell.Touch("/copy/d", time.Unix(sec, int64(nsec)+1), false))
		},
		"begun":          func(b *bench, _ *Target) { b.begin(0) },
		"no record":      func(b *bench, _ *Target) { b.forget() },
		"an older stamp": record(func(r *records.Record) { r.Stamp = before.Add(-1) }),
		"a later stamp":  record(func(r *records.Record) { r.Stamp = before.Add(1) }),
		"older than the copy": func(b *bench, _ *Target) {
			b.part.Stamp = before.Add(-1)
		},
		"another directory":             func(b *bench, _ *Target) { b.part.ID = theirs },
		"no id":                         func(b *bench, _ *Target) { b.part.ID = "" },
		"no id in the record":           record(func(r *records.Record) { r.ID = "" }),
		"other options":                 func(b *bench, _ *Target) { b.listing.Fingerprint = "f" },
		"unknown options":               func(b *bench, _ *Target) { b.listing.Fingerprint, b.env.Root.Fingerprint = "", "" },
		"recorded with other options":   record(func(r *records.Record) { r.Fingerprint, r.Excluded = "f", 1 }),
		"recorded with unknown options": record(func(r *records.Record) { r.Fingerprint = otherFingerprint }),
		"others stayed":                 record(func(r *records.Record) { r.Fingerprint = "!" }),
		"others stayed, of options":     record(func(r *records.Record) { r.Fingerprint, r.Excluded = "e!", 1 }),
		"a mount was left out":          record(func(r *records.Record) { r.Fingerprint, r.Excluded = "e+12345678", 1 }),
		"listed whole a day ago": func(b *bench, _ *Target) {
			record(func(r *records.Record) { r.Now = later.Add(-48 * time.Hour) })(b, nil)
			b.env.Wholes.Note("d", later.Add(-24*time.Hour), true)
		},
		"listed by a clock ahead": record(func(r *records.Record) { r.Now = later.Add(1) }),
		"it tells no time":        func(b *bench, _ *Target) { b.part.HasNow, b.part.Now = false, mtree.Stamp{} },
		"listed a day ago":        record(func(r *records.Record) { r.Now = later.Add(-24 * time.Hour) }),
		"never compared":          record(func(r *records.Record) { r.Now = never }),
		"something is not copied": func(b *bench, _ *Target) {
			require.NoError(b.t, b.env.Replica.UpdateUncopied(replica.Uncopied{"d": 1}, func(string) bool { return false }, false))
		},
		"a symlink that leads out": func(b *bench, _ *Target) { b.part.Entries[0] = entry(mtree.Symlink, "f"); b.part.Entries[0].Link = "/" },
		"what went may be hidden":  func(b *bench, _ *Target) { b.part.Excluded, b.part.Covered = 1, 1 },
		"an attribute to come":     func(b *bench, _ *Target) { b.part.Entries[0].NotUnderstood = "New" },
	} {
		b := newBench(t, 0, "f g old")
		b.list(gone("old"), gone("g"))
		b.tells("old", b.has()[0])
		target := Target{Path: "d", Listed: now}
		if set != nil {
			set(b, &target)
		}
		b.changes = 0
		v := b.try(target)
		if set == nil {
			require.NoError(t, v.Err)
			require.Zero(t, b.wholes(), name)
			require.Equal(t, "old", v.goes(), name)
			continue
		}
		require.Positive(t, b.wholes(), name)
		if v.Err == nil && !v.Listing.Hot {
			require.Contains(t, v.goes(), "g", name)
		}
	}
}

// A part with the stamp that the copy has: there is nothing to do, and nothing more to ask.
func TestAPartOfWhatTheCopyHas(t *testing.T) {
	b := newBench(t, 0, "f g old")
	b.tells("old", file("new"))
	r := b.recorded("d")
	r.Stamp = now
	b.record(r)
	v := b.visit()
	require.True(t, v.Same)
	require.Zero(t, b.wholes())
	require.Empty(t, v.goes())

	r.ID = theirs
	b.record(r)
	require.False(t, b.visit().Same, "another directory")
	require.Equal(t, 1, b.wholes())
}

// The record just within a day, and at each end of a span.
func TestPartsThatJustSuffice(t *testing.T) {
	for name, set := range map[string]func(b *bench, r *records.Record){
		"within the day":   func(_ *bench, r *records.Record) { r.Now = later.Add(1 - 24*time.Hour) },
		"listed just now":  func(_ *bench, r *records.Record) { r.Now = later },
		"begins with it":   func(b *bench, _ *records.Record) { b.part.Part[1].To = now },
		"ends with it":     func(b *bench, _ *records.Record) { b.part.Part[1].From = longAgo.Add(5) },
		"the same options": func(_ *bench, r *records.Record) { r.Fingerprint, r.Excluded = "e", 3 },
		"listed whole since": func(b *bench, r *records.Record) {
			r.Now = later.Add(-48 * time.Hour)
			b.env.Wholes.Note("d", later.Add(1-24*time.Hour), true)
		},
	} {
		b := newBench(t, 0, "f g old")
		b.tells("old")
		r := b.recorded("d")
		set(b, &r)
		b.record(r)
		v := b.visit()
		require.Zero(t, b.wholes(), name)
		require.Equal(t, "old", v.goes(), name)
		r.Stamp = now
		require.Equal(t, r, v.Record, name)
		require.False(t, v.Unlisted, name)
	}
}

// What the record says of the last whole listing stays when a part completes the directory: `now`,
// by which files are suspicious that a part does not tell of, and what was left out.
func TestAPartMovesTheStampOnly(t *testing.T) {
	b := newBench(t, 0, "f g")
	was := records.Record{Stamp: before, Now: before.Add(-time.Minute), ID: ours, Excluded: 2, Fingerprint: "e"}
	b.record(was)
	b.tells("g")
	v := b.visit()
	was.Stamp = now
	require.Equal(t, was, v.Record)
	require.Equal(t, was.Now, v.Known, "and if a file cannot be read")

	b.listing.Hidden, b.listing.Excluded = 2, 2
	require.Equal(t, b.listing.Now, b.visit().Record.Now, "a whole listing moves it")
}

// Files of a part are suspicious by the `now` of the last whole listing.
func TestFilesOfAPartAreCompared(t *testing.T) {
	b := newBench(t, 0, "f g")
	b.tells("", b.has()...)
	for i := range b.part.Entries {
		b.part.Entries[i].CTime, b.part.Entries[i].Has = before.Add(-11*time.Second).Add(time.Duration(i)*2*time.Second), mtree.HasMode|mtree.HasCTime
	}
	v := b.visit()
	require.Equal(t, "g", namesOf(v.Plan.Check))
	require.Equal(t, before, v.Record.Now)
}

// A part that is hot deletes nothing.
func TestAHotPart(t *testing.T) {
	b := newBench(t, 0, "f old")
	b.tells("old", file("new"))
	b.part.Hot = true
	v := b.visit()
	require.True(t, v.IsHot())
	require.Empty(t, v.goes())
	require.Equal(t, "new", namesOf(v.Plan.Fetch))
}

// What our filters exclude is neither deleted nor fetched, nor is a lost+found of the copy.
func TestAPartDeletesNothingThatIsExcluded(t *testing.T) {
	b := newBench(t, 0, "f mine deep/ deep/mine")
	b.exclude("mine")
	b.tells("deep mine", file("new"))
	v := b.visit()
	require.Equal(t, "", v.goes())
	require.Equal(t, int64(1), v.Stays)
	require.Equal(t, "!", v.Record.Fingerprint, "the record says that it has more than the listing")

	b = newBench(t, 0, "")
	b.make("", "f lost+found/")
	b.recordAt("", records.Record{Stamp: before, Now: before, ID: ours})
	root := *b.env.Root
	root.Listing = *b.tells("f lost+found")
	b.part = nil
	root.Fingerprint = "e"
	root.Dir.Tree, root.Dir.Fingerprint = b.env.Root.Tree, "e"
	b.env.Root = &root
	v = b.env.Visit(t.Context(), Target{}, &root)
	require.NoError(t, v.Err)
	require.Empty(t, b.asked)
	require.Equal(t, "f", v.goes())
}

// The root's part came with the root. If it does not suffice, the root is asked for by itself,
// past every cache.
func TestARootThatNeedsTheWhole(t *testing.T) {
	b := newBench(t, 0, "")
	b.make("", "f g")
	root := *b.env.Root
	root.Listing, b.part = *b.tells("f"), nil
	b.list(dir("d"))
	v := b.env.Visit(t.Context(), Target{}, &root)
	require.NoError(t, v.Err)
	require.Equal(t, []string{" " + source.Fresh.String()}, b.asked)
	require.Equal(t, "f g", v.goes())
}

// The whole listing of the root may come out of a cache, from before the part that told of it: it
// is one of the past.
func TestAnEarlierRootThanItsPart(t *testing.T) {
	b := newBench(t, 0, "")
	b.make("", "f g")
	root := *b.env.Root
	root.Listing, b.part = *b.tells("f"), nil
	b.list(dir("d"))
	b.listing.Stamp = now.Add(-1)
	require.ErrorIs(t, b.env.Visit(t.Context(), Target{}, &root).Err, ErrPast)
}

// Nothing is left of the visit by a part that did not suffice.
func TestTheWholeAfterAPart(t *testing.T) {
	b := newBench(t, 0, "f")
	out := entry(mtree.Symlink, "l")
	out.Link = "/"
	b.list(dir("e"), out)
	b.tells("", dir("e"), out)
	v := b.visit()
	require.Equal(t, 1, b.wholes())
	require.Equal(t, "e", namesOf(v.Below))
}

// A source that tells a part where the whole was asked for gives no listing.
func TestAPartInThePlaceOfTheWhole(t *testing.T) {
	b := newBench(t, 0, "f g")
	b.listing.Listing = *b.tells("f")
	b.part = nil
	b.begin(0)
	v := b.try(Target{Path: "d", Listed: now})
	require.ErrorIs(t, v.Err, mtree.ErrListing)
	require.Len(t, b.asked, 2)
}

// How many calls a visit by a part takes does not depend on how many entries the directory has.
func TestAPartLooksAtItsNamesOnly(t *testing.T) {
	var counts []string
	for _, width := range []int{3, 300} {
		b := newBench(t, 0, "f g")
		for i := range width {
			b.make("d", fmt.Sprintf("more%d", i))
		}
		b.recordAt("d", b.recorded("d"))
		b.tells("g", file("f"), file("new"))
		b.Made("")
		b.visit()
		require.Zero(t, b.count("list"))
		counts = append(counts, fmt.Sprint(b.count("statx"), len(b.Calls)))
	}
	require.Equal(t, counts[0], counts[1])
}

// A disk that fails when a name is looked at, or another spelling of it, fails the visit.
func TestADiskThatFailsAPart(t *testing.T) {
	for _, call := range []string{"statx f", "statx F", "list d"} {
		b := newBench(t, 0, "f \u00e9")
		b.tells("f \u00e9")
		b.env.Replica.Staging.Composes = true
		b.Refuse(call, unix.EIO, 1)
		v := b.try(Target{Path: "d", Listed: now})
		require.ErrorIs(t, v.Err, unix.EIO, call)
		require.True(t, replica.IsLocal(v.Err), call)
		require.Empty(t, v.Deletions, call)
	}
}

// composing is a file system that takes two ways to compose a letter for one, as ZFS does with
// normalization.
type composing struct{ *faultkernel.Kernel }

func (c composing) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	return c.Kernel.Statx(dirfd, strings.ReplaceAll(path, "e\u0301", "\u00e9"), flags, mask)
}

// A name of a part may lead to an entry of the copy that is spelled otherwise, and of which the part
// does not tell. It was deleted, or replaced by the other one. Now the whole listing is asked for.
func TestAPartInAnotherSpelling(t *testing.T) {
	fold := func(b *bench) sys.Kernel { return folding{b.Kernel} }
	compose := func(b *bench) sys.Kernel { return composing{b.Kernel} }
	plain := func(b *bench) sys.Kernel { return b.Kernel }
	for name, c := range map[string]struct {
		kernel func(b *bench) sys.Kernel
		has    string // the copy, and the source
		gone   string // by the part
		whole  bool   // listing is needed
		goes   string
	}{
		"another case":              {kernel: fold, has: "7z g", gone: "7Z", whole: true},
		"its own case":              {kernel: plain, has: "7z g", gone: "7z", goes: "7z"},
		"both are there":            {kernel: plain, has: "7z 7Z g", gone: "7z", goes: "7z"},
		"another case, not ASCII's": {kernel: fold, has: "7\u00e9 g", gone: "7\u00c9", whole: true},
		"no letters":                {kernel: fold, has: "77 g", gone: "77", goes: "77"},
		"composed otherwise":        {kernel: compose, has: "\u00e9 g", gone: "e\u0301", whole: true},
		"composed otherwise, later": {kernel: compose, has: "\u00e9 g h", gone: "h e\u0301", whole: true},
		"composed so":               {kernel: compose, has: "\u00e9 g", gone: "\u00e9", goes: "\u00e9"},
		"it is not there":           {kernel: plain, has: "7z g", gone: "7Z e\u0301"},
	} {
		b := newBench(t, 0, c.has)
		b.tells(c.gone)
		t.Cleanup(sys.Simulate(c.kernel(b)))
		b.env.Replica.Staging.Composes = b.env.Replica.Staging.ComposesAlike()
		require.Equal(t, strings.HasPrefix(name, "composed"), b.env.Replica.Staging.Composes)
		v := b.visit()
		require.Equal(t, c.whole, b.wholes() == 1, name)
		require.Equal(t, c.goes, v.goes(), name)
	}
}

// Which directories are later than their parents list them, so that the next pass finds them.
func TestADirectoryThatIsLaterThanListed(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(b *bench)
		want bool
	}{
		"it is":                   {func(*bench) {}, true},
		"out of a cache":          {func(b *bench) { b.listing.Direct = false }, false},
		"as listed":               {func(b *bench) { b.listing.Stamp = now }, false},
		"earlier":                 {func(b *bench) { b.listing.Stamp = now.Add(-1) }, false},
		"set ahead":               {func(b *bench) { b.listing.Stamp = b.listing.Now.Add(1) }, false},
		"no time":                 {func(b *bench) { b.listing.HasNow = false }, false},
		"stamps that say nothing": {func(b *bench) { b.env.Root.State = wire.Unwatched }, false},
	} {
		b := newBench(t, 0, "f")
		b.listing.Direct, b.listing.Stamp, b.listing.Now = true, now.Add(1), now.Add(1)
		c.set(b)
		require.Equal(t, c.want, b.visit().Later, name)
	}
}
