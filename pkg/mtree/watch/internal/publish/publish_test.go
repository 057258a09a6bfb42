package publish

import (
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// newTree returns a Tree at a directory, in which nothing is heard.
func newTree(t *testing.T, top string) *Tree {
	source, err := notify.None(make(chan struct{}, 1))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	log, clock := slog.New(slog.DiscardHandler), stamprule.NewClock(machine.Now)
	return &Tree{
		Root: disktest.OpenRoot(t, top), Source: source, Exclude: &glob.List{}, Clock: &clock, SetTime: (*disk.Dir).SetTime,
		OwnWrites: ownwrites.New(nil, nil, machine.Now()), Health: health.NewMonitor(log, new(atomic.Int64), new(atomic.Int64)),
		Borders: health.NewBorders(log, new(atomic.Int64)), SaveExceptions: func() {},
	}
}

// rule is one for which everything so far is published.
func rule() stamprule.Rule { return stamprule.Rule{Floor: machine.Now(), Granule: 1} }

// stampsOf returns what directories show.
func stampsOf(t *testing.T, top string, paths ...string) map[string]time.Time {
	stamps := map[string]time.Time{}
	for _, path := range paths {
		info, err := os.Stat(top + "/" + path)
		require.NoError(t, err)
		stamps[path] = info.ModTime()
	}
	return stamps
}

// Entries changed whose names were not kept, because there were too many or a file system
// went away: the directory counts as changed, and what is above it.
func TestNamesThatWereNotKept(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.MkdirAll(top+"/a/b", 0o755))
	require.NoError(t, os.MkdirAll(top+"/c", 0o755))
	tree, b := newTree(t, top), Batch{Paths: true}
	before := stampsOf(t, top, "", "a", "a/b", "c")
	b.AddEvents([]*notify.DirEvents{{Path: "a/b", Dirty: true}}, func(string, bool) bool { return false })
	r := rule()
	result, err := tree.Publish(&b, r, nil)
	require.NoError(t, err)
	require.Equal(t, 3, result.Stamped)
	require.True(t, result.Changed)
	after := stampsOf(t, top, "", "a", "a/b", "c")
	require.Equal(t, before["c"], after["c"])
	for _, path := range []string{"", "a", "a/b"} {
		require.NotEqual(t, before[path], after[path])
		require.Equal(t, after[""], after[path], "one change, one stamp")
	}
	require.True(t, result.Top.After(r.Floor))
	require.Len(t, result.Changes, 1)
	require.Equal(t, "a/b/", result.Changes[0].Path)
}

// What a batch says that is not so any more stamps nothing: its own event is to come.
func TestNothingIsThere(t *testing.T) {
	top := t.TempDir()
	tree, b := newTree(t, top), Batch{}
	before := stampsOf(t, top, "")
	b.AddEvents([]*notify.DirEvents{{Path: "a/b", Dirty: true}}, func(string, bool) bool { return false })
	r := rule()
	result, err := tree.Publish(&b, r, nil)
	require.NoError(t, err)
	require.Equal(t, Result{Top: r.Floor}, result)
	require.Equal(t, before, stampsOf(t, top, ""))
}

// A name that changed gives its directory the entry's time if that is new, else the next
// stamp; a name that is gone is a change, too.
func TestChangedNames(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, at string)
	}{
		{"gone", func(*testing.T, string) {}},
		{"file", func(t *testing.T, at string) { disktest.Write(t, at, "x") }},
		{"old", func(t *testing.T, at string) {
			disktest.Write(t, at, "x")
			require.NoError(t, os.Chtimes(at, time.Time{}, time.Unix(1000, 0)))
		}},
		{"link", func(t *testing.T, at string) { require.NoError(t, os.Symlink("nowhere", at)) }},
	} {
		top := t.TempDir()
		require.NoError(t, os.Mkdir(top+"/d", 0o755))
		tree, b, r := newTree(t, top), Batch{Paths: true}, rule()
		c.prepare(t, top+"/d/"+c.name)
		b.AddEntry("d", c.name)
		before := stampsOf(t, top, "", "d")
		result, err := tree.Publish(&b, r, nil)
		require.NoError(t, err)
		require.Equal(t, 2, result.Stamped, c.name)
		after := stampsOf(t, top, "", "d")
		require.NotEqual(t, before["d"], after["d"], c.name)
		require.NotEqual(t, before[""], after[""], c.name)
		require.True(t, result.Top.After(r.Floor))
		require.Len(t, result.Changes, 1)
		require.Equal(t, "d/"+c.name, result.Changes[0].Path)
	}
}

// A finding of the first run gives a directory the greatest time below it, and only if it
// still shows what the scan saw: a change since has its own event.
func TestStampFirst(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.Mkdir(top+"/d", 0o755))
	tree := newTree(t, top)
	showed := mtree.Unix(5000, 0)
	value := mtree.Unix(4000, 0)
	for _, changed := range []bool{false, true} {
		require.NoError(t, os.Chtimes(top+"/d", time.Time{}, time.Unix(5000, 0)))
		if changed {
			require.NoError(t, os.Chtimes(top+"/d", time.Time{}, time.Unix(6000, 0)))
		}
		b := Batch{Paths: true}
		b.AddFindings([]audit.Finding{{Path: "d", First: true, Value: value, Showed: showed}})
		result, err := tree.Publish(&b, stamprule.Rule{Floor: mtree.MinStamp, Granule: 1}, nil)
		require.NoError(t, err)
		require.Equal(t, !changed, result.Changed)
		require.Equal(t, !changed, stampsOf(t, top, "d")["d"].Equal(time.Unix(4000, 0)))
		if !changed {
			require.Equal(t, value, result.Top)
			require.Equal(t, 1, result.Stamped)
		}
		require.Equal(t, "d/", result.Changes[0].Path)
	}
}
