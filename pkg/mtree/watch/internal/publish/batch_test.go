package publish

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
)

// What of a source's events counts. An entry may be excluded as a file, or, if a directory
// arrived under the name, as one. What is left out here is never published.
func TestAddEvents(t *testing.T) {
	excluded := func(path string, isDir bool) bool {
		return strings.HasSuffix(path, "x") || isDir && strings.HasSuffix(path, "dir")
	}
	for _, c := range []struct {
		event notify.DirEvents
		size  int    // of the batch
		kept  string // entries
	}{
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "f"}, {Name: "x"}, {Name: "g"}}}, 2, "f g"},
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "x"}}}, 0, ""},
		{notify.DirEvents{Path: "a", Self: 1, Entries: []notify.Entry{{Name: "x"}}}, 1, ""},
		{notify.DirEvents{Path: "a", Dirty: true}, 1, ""},
		{notify.DirEvents{Path: "a", Self: 1}, 1, ""},
		{notify.DirEvents{Path: "a"}, 0, ""},
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "dir"}}}, 1, "dir"},                            // a file of that name counts
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "dir", Arrived: true}}}, 0, ""},                // a directory does not
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "dir", Arrived: true, File: true}}}, 1, "dir"}, // unless a file had its name
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "x", Arrived: true, File: true}}}, 0, ""},
		{notify.DirEvents{Path: "a", Entries: []notify.Entry{{Name: "other", Arrived: true}}}, 1, "other"},
		{notify.DirEvents{Path: "dir", Entries: []notify.Entry{{Name: "f"}}}, 0, ""},
		{notify.DirEvents{Path: "", Entries: []notify.Entry{{Name: "f"}}}, 1, "f"},
	} {
		b := Batch{}
		b.AddEvents([]*notify.DirEvents{&c.event}, excluded)
		require.Equal(t, c.size, b.Size, "%+v", c)
		if c.size == 0 {
			require.Nil(t, b.top.below, "%+v", c)
			continue
		}
		change := b.at(c.event.Path)
		var names []string
		for _, e := range change.entries {
			names = append(names, e.Name)
		}
		require.Equal(t, c.kept, strings.Join(names, " "), "%+v", c)
		require.False(t, change.arrives("dir"), "nothing in it is published")
		require.Equal(t, c.event.Self, change.selves)
		require.Equal(t, c.event.Self > 0, change.self)
		require.Equal(t, c.event.Dirty, change.dirty)
	}
	b, everything := Batch{}, func(path string, _ bool) bool { return path == "" }
	b.AddEvents([]*notify.DirEvents{{Self: 1}}, everything)
	require.Equal(t, 1, b.Size, "the root is never excluded")
}

// A published file was removed, and a directory that is excluded got its name. Both have one entry,
// and it was dropped: the file stayed in every copy. In the other order, a new file was never told.
func TestAFileInThePlaceOfAnExcludedDirectory(t *testing.T) {
	g := newGround(t, "a/f")
	g.make("a/cache")
	g.settle()
	batch := func(e notify.Entry) func(b *Batch) {
		return func(b *Batch) {
			b.AddEvents([]*notify.DirEvents{{Path: "a", Entries: []notify.Entry{e}}}, func(path string, isDir bool) bool { return isDir && path == "a/cache" })
		}
	}
	require.NoError(t, g.Shell.Remove("/tree/a/cache"))
	g.make("a/cache/in/")
	g.floor = machine.Now()
	require.Equal(t, ". = a/, a = cache/", g.writes(batch(notify.Entry{Name: "cache", Arrived: true, File: true})))
	require.Equal(t, []string{"a", "."}, g.order, "nothing in it is stamped")
	require.Equal(t, "", g.writes(batch(notify.Entry{Name: "cache", Arrived: true})))
}

// Events of one directory add up, in whichever batch they come.
func TestEventsAddUp(t *testing.T) {
	b := Batch{}
	for _, d := range []*notify.DirEvents{
		{Path: "a/b", Self: 1},
		{Path: "a/b", Entries: []notify.Entry{{Name: "f"}}},
		{Path: "a/b", Dirty: true},
		{Path: "a/b", Entries: []notify.Entry{{Name: "g", Arrived: true}}},
		{Path: "a/c", Self: 1},
		{Path: "a", Dirty: true},
	} {
		b.AddEvents([]*notify.DirEvents{d}, func(string, bool) bool { return false })
	}
	require.Equal(t, 6, b.Size)
	require.Len(t, b.top.below, 1)
	require.Len(t, b.at("a").below, 2)
	c := b.at("a/b")
	require.True(t, c.self && c.dirty)
	require.Len(t, c.entries, 2)
	require.True(t, b.at("a").dirty)
	require.True(t, b.at("a/c").self)
	require.True(t, c.touches("f") && c.touches("g"))
	require.False(t, c.touches("h"))
	require.True(t, c.arrives("g"))
	require.False(t, c.arrives("f") || c.arrives("h"))
}

// Findings of one directory are one: the later times count, and one of the first run only
// where nothing else was found.
func TestAddFindings(t *testing.T) {
	at := func(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }
	first := audit.Finding{Path: "d", First: true, Value: at(1)}
	for _, c := range []struct {
		findings []audit.Finding
		mtime    int64
		ctime    int64
		first    bool
	}{
		{[]audit.Finding{{Path: "d", MTime: at(5), CTime: at(6)}}, 5, 6, false},
		{[]audit.Finding{{Path: "d", MTime: at(5), CTime: at(6)}, {Path: "d", MTime: at(9), CTime: at(2)}}, 9, 6, false},
		{[]audit.Finding{{Path: "d", MTime: at(5), CTime: at(6)}, {Path: "d", MTime: at(2), CTime: at(9)}}, 5, 9, false},
		{[]audit.Finding{first, {Path: "d", MTime: at(5), CTime: at(6)}}, 5, 6, false},
		{[]audit.Finding{{Path: "d", MTime: at(5), CTime: at(6)}, {Path: "d", First: true, MTime: at(8), CTime: at(8)}}, 5, 6, false},
		{[]audit.Finding{first}, 0, 0, true},
	} {
		b := Batch{}
		b.AddFindings(c.findings)
		require.Equal(t, len(c.findings), b.Size)
		f := b.at("d").found
		require.Equal(t, c.first, f.First, "%+v", c)
		if !c.first {
			require.Equal(t, at(c.mtime), f.MTime, "%+v", c)
			require.Equal(t, at(c.ctime), f.CTime, "%+v", c)
		}
		require.False(t, b.at("d").showOnly)
	}
	for _, came := range [][2]int64{{3, 7}, {7, 3}, {0, 7}, {7, 0}} { // it may have arrived twice
		b := Batch{}
		b.AddFindings([]audit.Finding{{Path: "d", Came: at(came[0])}, {Path: "d", Came: at(came[1])}})
		require.Equal(t, at(7), b.at("d").found.Came, came)
	}
	for _, below := range [][2]bool{{true, false}, {false, true}} { // what is below may have come with either
		b := Batch{}
		b.AddFindings([]audit.Finding{{Path: "d", Below: below[0]}, {Path: "d", Below: below[1]}})
		require.True(t, b.at("d").found.Below, below)
	}
	b := Batch{}
	b.AddFindings([]audit.Finding{{Path: "d", ShowOnly: true}})
	require.True(t, b.at("d").showOnly)
	require.Nil(t, b.at("d").found)
}

// Single names and retries count, and make the way down to them.
func TestAddEntry(t *testing.T) {
	b := Batch{}
	b.AddEntry("a/b", "f")
	b.AddRetry("a/c")
	require.Equal(t, 2, b.Size)
	require.True(t, b.at("a/b").touches("f"))
	b.AddReadable("d/e")
	require.Equal(t, 3, b.Size)
	require.True(t, b.at("d").dirty)
	require.False(t, b.at("d").touches("e"), "whatever it shows")
	require.True(t, b.at("a/c").retry)
	b.AddArrival("g/h")
	require.Equal(t, 4, b.Size)
	require.True(t, b.at("g").arrives("h"), "all below it is stamped")
	require.False(t, b.TouchesMarker())
	b.AddEntry("a", mtree.MarkerName)
	require.False(t, b.TouchesMarker(), "not in the root")
	b.AddEntry("", mtree.MarkerName)
	require.True(t, b.TouchesMarker())
}
