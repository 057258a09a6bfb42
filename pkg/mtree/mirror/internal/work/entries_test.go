package work

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/mirror/internal/rights"
)

// What a visit sees of the copy: all but what filters exclude, and in the root all but the
// lost+found of mkfs. It tells whether files were excluded, and which directories.
func TestWhatAVisitSees(t *testing.T) {
	b := newBench(t, 0, "f mine1 mine2/ lost+found/")
	b.make("", "lost+found/ f mine3/ mine4")
	b.exclude("mine*")
	see := func(path string, listing *mtree.Listing) (names []string, files bool, dirs []string) {
		d, err := b.env.Replica.Dir(path)
		require.NoError(t, err)
		defer d.Close()
		have, files, dirs, err := b.env.present(d, path, listing)
		require.NoError(t, err)
		for i := range have {
			names = append(names, have[i].Name)
		}
		return names, files, dirs
	}
	names, files, dirs := see("d", &mtree.Listing{})
	require.Equal(t, []string{"f", "lost+found"}, names)
	require.True(t, files)
	require.Equal(t, []string{"mine2"}, dirs)
	names, _, _ = see("", &mtree.Listing{})
	require.Equal(t, []string{"d", "f"}, names)
	names, _, _ = see("", &mtree.Listing{Entries: []mtree.Entry{dir("a")}})
	require.Equal(t, []string{"d", "f"}, names)
	names, _, _ = see("", &mtree.Listing{Entries: []mtree.Entry{dir("a"), dir("lost+found")}})
	require.Equal(t, []string{"d", "f", "lost+found"}, names)
	b.exclude("mine2")
	_, files, dirs = see("d", &mtree.Listing{})
	require.False(t, files)
	require.Equal(t, []string{"mine2"}, dirs)
	b.exclude("mine1", "f")
	_, files, dirs = see("d", &mtree.Listing{})
	require.True(t, files)
	require.Empty(t, dirs)
}

// Whether the copy's root keeps an entry besides those that go.
func TestWhatTheRootKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		paths   string
		goes    []string
		listed  string
		exclude string
		keeps   bool
	}{
		"all go":                         {paths: "f", goes: []string{"d", "f"}},
		"one stays":                      {paths: "f", goes: []string{"f"}, keeps: true},
		"lost+found stays":               {paths: "lost+found/", goes: []string{"d"}},
		"lost+found, and one stays":      {paths: "lost+found/ z", goes: []string{"d"}, keeps: true},
		"one stays before lost+found":    {paths: "a lost+found/", goes: []string{"d"}, keeps: true},
		"a file of that name":            {paths: "lost+found", goes: []string{"d"}, keeps: true},
		"the source has it, too":         {paths: "lost+found/", goes: []string{"d"}, listed: "lost+found", keeps: true},
		"what is excluded stays":         {paths: "mine", goes: []string{"d"}, exclude: "mine"},
		"a directory is excluded":        {paths: "mine/", goes: []string{"d"}, exclude: "mine/"},
		"only directories are":           {paths: "mine", goes: []string{"d"}, exclude: "mine/", keeps: true},
		"excluded, and one stays":        {paths: "mine f", goes: []string{"d"}, exclude: "mine", keeps: true},
		"one stays, among excluded ones": {paths: "a m z", goes: []string{"d"}, exclude: "[az]", keeps: true},
		"one stays before one goes":      {paths: "a z", goes: []string{"d", "z"}, keeps: true},
	} {
		b := newBench(t, 0, "")
		b.make("", c.paths)
		if c.exclude != "" {
			b.exclude(c.exclude)
		}
		if c.listed != "" {
			b.env.Root.Entries = []mtree.Entry{dir(c.listed)}
		}
		goes := map[string]bool{}
		for _, name := range c.goes {
			goes[name] = true
		}
		b.Made("")
		require.Equal(t, c.keeps, b.env.RootKeeps(t.Context(), goes), name)
		require.Zero(t, b.Made("statx"))
		require.Empty(t, b.asked)
		restore := sys.Simulate(untyped{b.Kernel})
		require.Equal(t, c.keeps, b.env.RootKeeps(t.Context(), goes), name)
		restore()
	}
}

// A part of the root does not say whether the source has a lost+found: if nothing else stays, it is
// asked.
func TestWhatTheRootKeepsByAPart(t *testing.T) {
	for name, c := range map[string]struct {
		paths string
		set   func(b *bench)
		asked int
		keeps bool
	}{
		"the source has it":      {paths: "lost+found/", set: func(b *bench) { b.list(dir("lost+found")) }, asked: 1, keeps: true},
		"the source has it not":  {paths: "lost+found/", set: func(*bench) {}, asked: 1},
		"the source is away":     {paths: "lost+found/", set: func(b *bench) { b.err = errAway }, asked: 1},
		"it became another tree": {paths: "lost+found/", set: func(b *bench) { b.list(dir("lost+found")); b.listing.Tree.Epoch = 6 }, asked: 1},
		"another one stays":      {paths: "lost+found/ z", set: func(*bench) {}, keeps: true},
		"there is none":          {set: func(*bench) {}},
	} {
		b := newBench(t, 0, "")
		b.make("", c.paths)
		b.env.Root.Listing.Part = []mtree.Span{{}}
		c.set(b)
		require.Equal(t, c.keeps, b.env.RootKeeps(t.Context(), map[string]bool{"d": true}), name)
		require.Len(t, b.asked, c.asked, name)
	}
}

// Filters see of a listing whether an entry is a directory.
func TestFiltersOfAListing(t *testing.T) {
	b := newBench(t, 0, "")
	b.exclude("x/")
	entries := []mtree.Entry{file("f"), file("x")}
	require.Equal(t, entries, b.env.wanted("d", entries))
	require.Equal(t, entries[:1], b.env.wanted("d", []mtree.Entry{file("f"), dir("x")}))
}

// The modes that --chmod gives are those that the plan compares with.
func TestRightsOfAListing(t *testing.T) {
	b := newBench(t, 0, "")
	var err error
	b.env.Rights, err = rights.Parse([]string{"D750,F604"}, "", true)
	require.NoError(t, err)
	got := b.env.wanted("d", []mtree.Entry{file("f"), dir("x")})
	require.EqualValues(t, 0o604, got[0].Mode)
	require.EqualValues(t, 0o750, got[1].Mode)
}
