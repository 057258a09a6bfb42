package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// at is the mtime of all entries in these tests.
var at = mtree.Unix(1_000_000_000, 0)

func file(name string) mtree.Entry {
	return mtree.Entry{Name: name, Kind: mtree.File, Has: mtree.HasMode | mtree.HasOwner, Mode: 0o644, MTime: at, Size: 5}
}

func dir(name string) mtree.Entry {
	return mtree.Entry{Name: name, Kind: mtree.Dir, Has: mtree.HasMode | mtree.HasOwner, Mode: 0o755, MTime: at}
}

func symlink(name, target string) mtree.Entry {
	return mtree.Entry{Name: name, Kind: mtree.Symlink, Has: mtree.HasMode | mtree.HasOwner, Mode: 0o777, MTime: at, Link: target}
}

// with returns an entry that is changed.
func with(e mtree.Entry, change func(*mtree.Entry)) *mtree.Entry {
	change(&e)
	return &e
}

// describe lists what a plan does, in a fixed order.
func describe(p *Plan) string {
	var words []string
	for _, list := range []struct {
		word    string
		changes []mtree.Change
	}{
		{"mkdir", p.MakeDirs}, {"link", p.MakeLinks}, {"fetch", p.Fetch}, {"check", p.Check}, {"chmod", p.SetModes}, {"linked", p.Linked}, {"dir", p.Dirs},
	} {
		for _, c := range list.changes {
			words = append(words, list.word+":"+c.Want.Name)
		}
	}
	for _, list := range []struct {
		word    string
		entries []*mtree.Entry
	}{
		{"delete", p.Extra}, {"keep", p.Kept}, {"unknown", p.NotUnderstood}, {"skip", p.SkippedLinks}, {"deep", p.TooDeep}, {"unvisited", p.Unvisited},
	} {
		for _, e := range list.entries {
			words = append(words, list.word+":"+e.Name)
		}
	}
	return strings.Join(words, " ")
}

// Every way in which one name of the copy may differ from the listing, and what is done
// about it. A line too few here is a change that is never copied, or a file that is
// deleted though the source has it.
func TestMake(t *testing.T) {
	f, d, l := file("n"), dir("n"), symlink("n", "to")
	names := func(e *mtree.Entry) { e.Has |= mtree.HasSame }
	for _, c := range []struct {
		name       string
		have, want *mtree.Entry
		options    Options
		plan       string
	}{
		{"equal files", &f, &f, Options{}, ""},
		{"a missing file", nil, &f, Options{}, "fetch:n"},
		{"another size", with(f, func(e *mtree.Entry) { e.Size++ }), &f, Options{}, "fetch:n"},
		{"an earlier time", with(f, func(e *mtree.Entry) { e.MTime = at.Add(-1) }), &f, Options{}, "fetch:n"},
		{"a later time", with(f, func(e *mtree.Entry) { e.MTime = at.Add(1) }), &f, Options{}, "fetch:n"},
		{"a directory in the way of a file", &d, &f, Options{}, "fetch:n"},
		{"another mode", with(f, func(e *mtree.Entry) { e.Mode = 0o600 }), &f, Options{}, "chmod:n"},
		{"another owner that nobody asked for", with(f, func(e *mtree.Entry) { e.UID++ }), &f, Options{}, ""},
		{"another owner", with(f, func(e *mtree.Entry) { e.GID++ }), &f, Options{Owner: true}, "chmod:n"},
		{"with owners, the same one", &f, &f, Options{Owner: true}, ""},
		{"nothing is trusted", &f, &f, Options{CheckAll: true}, "check:n"},
		{"nothing is trusted, and a mode", with(f, func(e *mtree.Entry) { e.Mode = 0o600 }), &f, Options{CheckAll: true}, "check:n"},
		{"no ctime", &f, &f, Options{ByCTime: true, Listed: at}, ""},

		{"a file with other names", &f, with(f, names), Options{HardLinks: true}, "linked:n"},
		{"with other names here", with(f, names), &f, Options{HardLinks: true}, "linked:n"},
		{"links that nobody wants", with(f, names), with(f, names), Options{}, ""},
		{"with other names, and a mode", with(f, func(e *mtree.Entry) { e.Mode = 0o600 }), with(f, names), Options{HardLinks: true}, "linked:n"},
		{"with other names here, and a mode", with(f, func(e *mtree.Entry) { names(e); e.Mode = 0o600 }), &f, Options{HardLinks: true}, "chmod:n"},
		{"with other names, and another size", with(f, func(e *mtree.Entry) { e.Size++ }), with(f, names), Options{HardLinks: true}, "fetch:n"},
		{"with other names, and not trusted", &f, with(f, names), Options{HardLinks: true, CheckAll: true}, "check:n"},

		{"equal directories", &d, &d, Options{}, "dir:n"},
		{"a missing directory", nil, &d, Options{}, "mkdir:n dir:n"},
		{"a file in the way of a directory", &f, &d, Options{}, "mkdir:n dir:n"},
		{"a directory of another mode", with(d, func(e *mtree.Entry) { e.Mode = 0o700 }), &d, Options{}, "chmod:n dir:n"},
		{"a directory of another owner", with(d, func(e *mtree.Entry) { e.UID++ }), &d, Options{Owner: true}, "chmod:n dir:n"},
		{"a directory of another stamp", with(d, func(e *mtree.Entry) { e.MTime = at.Add(1) }), &d, Options{}, "dir:n"},

		{"equal links", &l, &l, Options{}, ""},
		{"a missing link", nil, &l, Options{}, "link:n"},
		{"another target", with(l, func(e *mtree.Entry) { e.Link = "other" }), &l, Options{}, "link:n"},
		{"a link of another time", with(l, func(e *mtree.Entry) { e.MTime = at.Add(1) }), &l, Options{}, "link:n"},
		{"a link of another owner", with(l, func(e *mtree.Entry) { e.UID++ }), &l, Options{Owner: true}, "link:n"},
		{"a file in the way of a link", &f, &l, Options{}, "link:n"},
		{"a link that leads out", nil, with(l, func(e *mtree.Entry) { e.Link = "/etc" }), Options{}, "skip:n"},
		{"links are left out", nil, &l, Options{NoLinks: true}, "skip:n"},
		{"what has the name of a link that is left out", &f, &l, Options{NoLinks: true}, "delete:n skip:n"},
		{"but not with NoDelete", &f, &l, Options{NoLinks: true, NoDelete: true}, "skip:n"},
		{"held before, so NoDelete does not apply", &f, &l, Options{NoLinks: true, NoDelete: true, WasHeld: func(string) bool { return true }}, "delete:n skip:n"},

		{"not understood", nil, with(f, func(e *mtree.Entry) { e.NotUnderstood = "New" }), Options{}, "unknown:n"},
		{"not understood, and something else here", &d, with(f, func(e *mtree.Entry) { e.NotUnderstood = "New" }), Options{}, "unknown:n unvisited:n"},

		{"extra", &f, nil, Options{}, "delete:n"},
		{"an extra directory", &d, nil, Options{}, "delete:n"},
		{"extra with NoDelete", &f, nil, Options{NoDelete: true}, ""},
		{"held before", &f, nil, Options{Dir: "a", NoDelete: true, WasHeld: func(path string) bool { return path == "a/n" }}, "delete:n"},
		{"another one was held before", &f, nil, Options{Dir: "a", NoDelete: true, WasHeld: func(path string) bool { return path == "n" }}, ""},
		{"an extra file where directories may be hidden", &f, nil, Options{Hidden: HiddenDirs}, "delete:n"},
		{"an extra directory where directories may be hidden", &d, nil, Options{Hidden: HiddenDirs}, "keep:n unvisited:n"},
		{"an extra directory with NoDelete", &d, nil, Options{NoDelete: true}, "unvisited:n"},
		{"a directory that has the name of a link that is left out", &d, &l, Options{NoLinks: true}, "delete:n skip:n"},
		{"but not with NoDelete, either", &d, &l, Options{NoLinks: true, NoDelete: true}, "skip:n unvisited:n"},
		{"a directory in the way of a link", &d, &l, Options{}, "link:n"},
		{"an extra file where anything may be hidden", &f, nil, Options{Hidden: HiddenAny}, "keep:n"},
		{"what may be hidden counts before NoDelete", &f, nil, Options{Hidden: HiddenAny, NoDelete: true}, "keep:n"},
	} {
		var have []mtree.Entry
		want := &mtree.Listing{}
		if c.have != nil {
			have = append(have, *c.have)
		}
		if c.want != nil {
			want.Entries = append(want.Entries, *c.want)
		}
		got := Make(have, want, &c.options)
		require.Equal(t, c.plan, describe(&got), c.name)
		require.EqualValues(t, len(want.Entries), got.Entries, c.name)
	}
}

// Dotfiles that the source hides are not deleted. It hides some if it says that it leaves
// out more names than those that are excluded.
func TestHiddenDotfilesAreKept(t *testing.T) {
	have := []mtree.Entry{file(".dot"), file("plain")}
	for _, c := range []struct {
		hidden, excluded int64
		plan             string
	}{
		{0, 0, "delete:.dot delete:plain"},
		{1, 0, "delete:plain"},
		{2, 1, "delete:plain"},
		{2, 2, "delete:.dot delete:plain"}, // what is excluded are no dotfiles
	} {
		got := Make(have, &mtree.Listing{Hidden: c.hidden, Excluded: c.excluded}, &Options{})
		require.Equal(t, c.plan, describe(&got), "%d %d", c.hidden, c.excluded)
	}
}

// A directory below the longest path is left out, and nothing that has its name is
// deleted, except if it is no directory: then it can only be in the way.
func TestTooDeep(t *testing.T) {
	just := strings.Repeat("d", MaxPath-2)
	d, f := dir("n"), file("n")
	for _, c := range []struct {
		dir  string
		have *mtree.Entry
		plan string
	}{
		{just, nil, "mkdir:n dir:n"},
		{just + "d", nil, "deep:n"},
		{just + "d", &d, "deep:n unvisited:n"},
		{just + "d", &f, "delete:n deep:n"},
	} {
		var have []mtree.Entry
		if c.have != nil {
			have = append(have, *c.have)
		}
		got := Make(have, &mtree.Listing{Entries: []mtree.Entry{d}}, &Options{Dir: c.dir})
		require.Equal(t, c.plan, describe(&got), "%d", len(c.dir))
	}
}

// A ctime proves nothing where the listing does not carry it, or where it is older than
// the listing by the slack; nor where the bytes were compared at this ctime already.
func TestSuspicionOfOneFile(t *testing.T) {
	asked := ""
	verified := func(path string, _ *mtree.Entry) bool { asked = path; return path == "a/seen" }
	for _, c := range []struct {
		name  string
		has   mtree.Attrs
		ctime mtree.Stamp
		want  bool
	}{
		{"n", mtree.HasCTime, at, true},
		{"n", 0, at, false},
		{"seen", mtree.HasCTime, at, false},
		{"n", mtree.HasCTime, at.Add(-CTimeSlack), false},
		{"n", mtree.HasCTime, at.Add(-CTimeSlack + 1), true},
	} {
		p := planner{Options: &Options{Dir: "a", ByCTime: true, Listed: at, Slack: CTimeSlack, Verified: verified}}
		require.Equal(t, c.want, p.isSuspicious(&mtree.Entry{Name: c.name, CTime: c.ctime, Has: c.has}), "%+v", c)
	}
	require.Equal(t, "a/n", asked)
	p := planner{Options: &Options{ByCTime: true, Listed: at, Slack: LossSlack}}
	require.True(t, p.isSuspicious(&mtree.Entry{Name: "n", CTime: at.Add(-CTimeSlack), Has: mtree.HasCTime}), "the source lost its power")
	require.Equal(t, 10*time.Second, CTimeSlack, "as watch looks back")
}

// A plan says whether the copy has files that the source may have without listing them: not
// if they are directories, or none are kept.
func TestUnseen(t *testing.T) {
	for _, c := range []struct {
		name   string
		have   []mtree.Entry
		hidden Hidden
		dots   int64
		want   bool
	}{
		{"nothing is hidden", []mtree.Entry{file("a")}, HiddenNone, 0, false},
		{"a file", []mtree.Entry{file("a"), dir("b")}, HiddenAny, 0, true},
		{"a directory", []mtree.Entry{dir("a")}, HiddenAny, 0, false},
		{"directories may be hidden", []mtree.Entry{dir("a"), file("b")}, HiddenDirs, 0, false},
		{"a dotfile", []mtree.Entry{file(".a"), dir(".b")}, HiddenNone, 1, true},
		{"a dotted directory", []mtree.Entry{dir(".a")}, HiddenNone, 1, false},
	} {
		got := Make(c.have, &mtree.Listing{Hidden: c.dots}, &Options{Hidden: c.hidden})
		require.Equal(t, c.want, got.Unseen, c.name)
	}
	// What stays by NoDelete may be among what is left out, even if all of that was known before: it may
	// have been gone then, and have come again.
	for _, excluded := range []int64{0, 1} {
		for _, e := range []mtree.Entry{file("a"), dir("a")} {
			got := Make([]mtree.Entry{e}, &mtree.Listing{Hidden: excluded, Excluded: excluded}, &Options{NoDelete: true})
			require.Equal(t, excluded > 0 && e.Kind == mtree.File, got.Unseen, "%d %v", excluded, e.Kind)
		}
		got := Make([]mtree.Entry{file("a"), dir("b")}, &mtree.Listing{Hidden: excluded, Excluded: excluded}, &Options{NoDelete: true})
		require.Equal(t, excluded > 0, got.Unseen, "a file, and then a directory")
	}
}

// A plan says whether something stays for NoDelete alone: not what was held before, nor what may be
// hidden.
func TestWhatNoDeleteSpares(t *testing.T) {
	f, l := file("n"), symlink("n", "to")
	wasHeld := func(string) bool { return true }
	for _, c := range []struct {
		name    string
		want    []mtree.Entry
		options Options
		spares  int64
	}{
		{"nothing is asked for", nil, Options{}, 0},
		{"an extra file", nil, Options{NoDelete: true}, 1},
		{"in the way of a link that is left out", []mtree.Entry{l}, Options{NoDelete: true, NoLinks: true}, 1},
		{"the source has it", []mtree.Entry{f}, Options{NoDelete: true}, 0},
		{"it was held before", nil, Options{NoDelete: true, WasHeld: wasHeld}, 0},
		{"it may be hidden", nil, Options{NoDelete: true, Hidden: HiddenAny}, 0},
	} {
		got := Make([]mtree.Entry{f}, &mtree.Listing{Entries: c.want}, &c.options)
		require.Equal(t, c.spares, got.Spared, c.name)
	}
	got := Make([]mtree.Entry{dir("d"), f}, &mtree.Listing{}, &Options{NoDelete: true})
	require.Equal(t, int64(ManyInside+1), got.Spared)
	got = Make([]mtree.Entry{dir("d")}, &mtree.Listing{}, &Options{})
	require.Zero(t, got.Spared, "a directory goes, too")
}
