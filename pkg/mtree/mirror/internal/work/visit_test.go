package work

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
	"tidemark/pkg/mtree/wire"
)

// A visit asks for the listing, with the stamp that the parent lists, unless it is given.
func TestWhereAListingComesFrom(t *testing.T) {
	b := newBench(t, 0, "f")
	b.visit()
	require.Equal(t, []string{"d " + now.String()}, b.asked)
	root := *b.env.Root
	root.Listing = b.listing.Listing
	root.Entries = []mtree.Entry{file("new")}
	b.asked = nil
	v := b.env.Visit(t.Context(), Target{Path: "d"}, &root)
	require.NoError(t, v.Err)
	require.Empty(t, b.asked)
	require.Equal(t, "new", namesOf(v.Plan.Fetch))

	b.err = errAway
	v = b.try(Target{Path: "d"})
	require.ErrorIs(t, v.Err, errAway)
	require.NotErrorIs(t, v.Err, source.ErrMoved)
	b.err, b.listing.Tree.Epoch = nil, 6
	require.ErrorIs(t, b.try(Target{Path: "d"}).Err, source.ErrMoved)
	b.listing.Tree.Epoch, b.listing.Node = 5, b.env.Replica.Self.Node
	require.ErrorIs(t, b.try(Target{Path: "d"}).Err, overlap.Err)
}

// A listing by other options of serve than those that the root told of is hot, if it leaves out
// anything, or if the source is a copy that may lack what its mirror leaves out.
func TestAListingByOtherOptions(t *testing.T) {
	for name, c := range map[string]struct {
		fingerprint, upstreams string
		hidden                 int64
		owner                  bool // owners are copied
		listedHot              bool
		hot                    bool
	}{
		"the same":          {fingerprint: "e", hidden: 1, upstreams: "u"},
		"not known":         {hidden: 1, upstreams: "u"},
		"others, of a copy": {fingerprint: "f", upstreams: "u", hot: true},
		"others, leave out": {fingerprint: "f", hidden: 1, hot: true},
		"others, all":       {fingerprint: "f"},
		"others, of owners": {fingerprint: "f", owner: true, hot: true},
		"the same, owners":  {fingerprint: "e", owner: true},
		"the same, hot":     {fingerprint: "e", listedHot: true, hot: true},
		"others, hot":       {fingerprint: "f", listedHot: true, hot: true},
	} {
		b := newBench(t, 0, "f old")
		b.list(gone("old"), file("new"))
		b.listing.Fingerprint, b.env.Root.Upstreams, b.listing.Hidden = c.fingerprint, c.upstreams, c.hidden
		b.env.Owner, b.listing.Hot = c.owner, c.listedHot
		v := b.visit()
		require.Equal(t, c.hot, v.IsHot(), name)
		require.Equal(t, c.hot, v.goes() == "", name)
		require.Equal(t, "new", namesOf(v.Plan.Fetch), "what is new is fetched in any case")
		require.Equal(t, c.fingerprint == "f", v.Other, name)
		require.Equal(t, name == "others, hot", v.HotElsewhere, name)
	}
}

// In a full walk, entries are counted that no visit leads to: those of a directory that the source
// may not read, and of one that it may hide.
func TestWhatNoVisitLeadsToIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		err    error // the source's
		doubts replica.Doubts
		inside int64
	}{
		"hidden, in a full walk": {doubts: replica.DoubtBelow, inside: 2},
		"hidden":                 {},
		"denied, in a full walk": {err: source.ErrDenied, doubts: replica.DoubtBelow, inside: 4},
		"denied":                 {err: source.ErrDenied},
		"away, in a full walk":   {err: errAway, doubts: replica.DoubtBelow},
	} {
		b := newBench(t, 0, "f e/ e/x e/y")
		b.list(gone("e"))
		b.listing.Excluded, b.err = 1, c.err
		v := b.try(Target{Path: "d", Doubts: c.doubts})
		require.ErrorIs(t, v.Err, c.err, name)
		require.Equal(t, c.inside, v.Inside, name)
	}
}

// Only a dry run goes on where the copy has no such directory: everything in it would be made.
func TestADirectoryThatTheCopyLacks(t *testing.T) {
	for _, dry := range []bool{true, false} {
		b := newBench(t, 0, "")
		b.list(file("f"), dir("e"))
		require.NoError(t, b.Shell.Remove("/copy/d"))
		b.env.DryRun = dry
		v := b.try(Target{Path: "d"})
		if !dry {
			require.ErrorIs(t, v.Err, fs.ErrNotExist)
			require.True(t, replica.IsLocal(v.Err))
			continue
		}
		require.NoError(t, v.Err)
		require.Equal(t, "f", namesOf(v.Plan.Fetch))
		require.Equal(t, "e", namesOf(v.Below))
		require.Empty(t, v.Deletions)
		require.Zero(t, b.Made("setxattr")+b.changes)
		b.Refuse("open d", unix.EIO, 1)
		require.ErrorIs(t, b.try(Target{Path: "d"}).Err, unix.EIO)
		require.NoError(t, b.Shell.Write("/copy/d", "a file"))
		require.Equal(t, "f", namesOf(b.visit().Plan.Fetch))
		none, err := replica.Open(&replica.Options{Path: "/none", Log: b.env.Log, Now: machine.Now, ReadOnly: true})
		require.NoError(t, err)
		b.env.Replica = none
		require.Equal(t, "f", namesOf(b.visit().Plan.Fetch))
	}
}

// What a record says is not forgotten when it cannot be read once: the directory fails.
func TestAVisitNeedsItsRecord(t *testing.T) {
	b := newBench(t, 0, "f")
	b.list(file("f"))
	b.Refuse("getxattr d", unix.ENOMEM, 1)
	v := b.try(Target{Path: "d"})
	require.ErrorIs(t, v.Err, unix.ENOMEM)
	require.True(t, replica.IsLocal(v.Err))
	require.Zero(t, b.Made("setxattr")+b.changes)
	require.NoError(t, b.visit().Err)
}

// A dry run compares, counts deletions, and begins nothing.
func TestADryRunBeginsNothing(t *testing.T) {
	b := newBench(t, 0, "f old")
	b.list(gone("old"), file("new"), dir("e"))
	b.env.DryRun = true
	v := b.visit()
	require.Equal(t, "new", namesOf(v.Plan.Fetch))
	require.Equal(t, "e", namesOf(v.Below))
	require.Equal(t, "old", v.goes())
	require.False(t, v.Begun || v.Changed)
	require.Zero(t, b.Made("setxattr")+b.Made("mkdir")+b.changes)
}

// What this machine's disk refuses is no failure of the source.
func TestADiskThatFailsAVisit(t *testing.T) {
	for call, uid := range map[string]uint32{"open d": 0, "statx d": 0, "list d": 0, "chmod d": 7, "setxattr d": 0} {
		b := newBench(t, uid, "new e/ e/f")
		b.list(file("new2"))
		if uid != 0 {
			require.NoError(t, b.Shell.Chmod("/copy/d", 0o600))
		}
		b.Refuse(call, unix.EIO, 1)
		v := b.try(Target{Path: "d"})
		require.ErrorIs(t, v.Err, unix.EIO, call)
		require.True(t, replica.IsLocal(v.Err), call)
		require.Empty(t, v.Deletions)
		b.Fail = nil
		require.NoError(t, b.visit().Err, call)
	}
}

// folding is a file system that ignores case when it looks for a name.
type folding struct{ *faultkernel.Kernel }

func (f folding) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	return f.Kernel.Statx(dirfd, strings.ToLower(path), flags, mask)
}

// The same where a name gets another spelling.
func TestARespellingThatFails(t *testing.T) {
	b := newBench(t, 0, "new")
	b.list(gone("new"), file("New"))
	b.env.Replica.Staging.Folds = true
	t.Cleanup(sys.Simulate(folding{b.Kernel}))
	b.Refuse("rename New", unix.EIO, 1)
	v := b.try(Target{Path: "d"})
	require.ErrorIs(t, v.Err, unix.EIO)
	require.True(t, replica.IsLocal(v.Err))
	require.Empty(t, v.Deletions)
	require.Empty(t, v.Respelled)
	require.Equal(t, []Respelled{{Old: "new", New: "New", Kind: mtree.File}}, b.try(Target{Path: "d"}).Respelled)
}

// A directory that is complete with this stamp needs no look at what is in it, unless something
// is doubted, the stamps say nothing, or it is another one.
func TestADirectoryThatIsComplete(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(b *bench)
		doubts replica.Doubts
		same   bool
	}{
		"complete":            {set: func(*bench) {}, same: true},
		"bytes are doubted":   {set: func(*bench) {}, doubts: replica.DoubtBytes, same: true},
		"below is doubted":    {set: func(*bench) {}, doubts: replica.DoubtBelow},
		"another stamp":       {set: func(b *bench) { b.listing.Stamp = now }},
		"somebody touched it": {set: func(b *bench) { require.NoError(b.t, b.Shell.Touch("/copy/d", time.Unix(77, 0), false)) }},
		"stamps say nothing":  {set: func(b *bench) { b.env.Root.State = wire.Unwatched }},
		"another one":         {set: func(b *bench) { b.listing.ID = theirs }},
		"without a record": {set: func(b *bench) {
			b.forget()
			b.listing.Stamp = mtree.Stamp{}
			require.NoError(b.t, b.Shell.Touch("/copy/d", time.Unix(0, 0), false))
		}},
	} {
		b := newBench(t, 0, "f e/")
		b.listing.Stamp = before
		c.set(b)
		b.Made("")
		v := b.try(Target{Path: "d", Doubts: c.doubts})
		require.NoError(t, v.Err, name)
		require.Equal(t, c.same, v.Same, name)
		require.Equal(t, c.same, v.Plan.Dirs == nil, name)
		require.Equal(t, c.same, b.Made("list d") == 0, name)
		if c.same {
			require.Equal(t, before, v.Before.Stamp)
			require.True(t, v.Had)
		}
	}
}

// A directory that was just made is not read, and is begun.
func TestADirectoryThatIsFresh(t *testing.T) {
	b := newBench(t, 0, "")
	b.forget()
	v := b.try(Target{Path: "d", Fresh: true})
	require.NoError(t, v.Err)
	require.True(t, v.Begun)
	require.True(t, b.recorded("d").IsUnfinished())
	require.Equal(t, 1, b.changes)
	require.Zero(t, b.Made("list d"))
}

// What a directory without a record, or with one of doubts, adds to what is doubted; and whether
// an earlier mirror may have left files that it did not flush.
func TestWhatARecordLeavesInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		paths     string
		set       func(b *bench)
		doubts    replica.Doubts
		unflushed bool
	}{
		"complete":            {paths: "f", set: func(*bench) {}},
		"no record":           {paths: "f", set: func(b *bench) { b.forget() }, doubts: replica.DoubtBelow, unflushed: true},
		"no record, no files": {paths: "e/", set: func(b *bench) { b.forget() }, doubts: replica.DoubtBelow},
		"no record, nothing":  {set: func(b *bench) { b.forget() }},
		"no record, no time": {paths: "f", set: func(b *bench) {
			b.forget()
			require.NoError(b.t, b.Shell.Touch("/copy/d", time.Unix(0, 0), false))
		}, doubts: replica.DoubtBelow, unflushed: true},
		"doubted":                     {paths: "f", set: func(b *bench) { b.begin(replica.DoubtHidden) }, doubts: replica.DoubtHidden, unflushed: true},
		"begun, no files":             {paths: "e/", set: func(b *bench) { b.begin(0) }},
		"begun":                       {paths: "f", set: func(b *bench) { b.begin(0) }, unflushed: true},
		"complete, and touched since": {paths: "f", set: func(b *bench) { require.NoError(b.t, b.Shell.Touch("/copy/d", time.Unix(77, 0), false)) }, unflushed: true},
	} {
		b := newBench(t, 0, c.paths)
		c.set(b)
		v := b.visit()
		require.Equal(t, c.doubts, v.Doubts, name)
		require.Equal(t, c.doubts, v.DoubtsBelow, name)
		require.Equal(t, c.unflushed, v.Unflushed, name)
		require.Equal(t, int64(len(strings.Fields(c.paths))), v.InCopy)
	}
}

// Where the log of the records may lack lines since the machine was booted, a directory that is
// complete by its line lost nothing; one that was touched since may have been begun.
func TestADirectoryThatIsWholeLostNothing(t *testing.T) {
	b := newBenchOn(t, 0, "f", true)
	b.env.Replica.Close()
	b.Refuse("proc boot_id", unix.EIO, 100)
	b.env.Replica = b.open(b.env.Log)
	b.Fail = nil
	v := b.visit()
	require.True(t, v.Had)
	require.False(t, v.MayBeLost)
	require.Empty(t, v.Plan.Check)
	require.NoError(t, b.Shell.Touch("/copy/d", time.Unix(77, 0), false))
	v = b.visit()
	require.True(t, v.MayBeLost)
	require.Equal(t, "f", namesOf(v.Plan.Check))
}

// begin marks d as unfinished.
func (b *bench) begin(doubts replica.Doubts) {
	b.t.Helper()
	dir, err := b.env.Replica.Dir("d")
	require.NoError(b.t, err)
	defer dir.Close()
	require.NoError(b.t, b.env.Replica.Begin(dir, "d", records.Record{}, doubts))
}

// A listing that knows files only nearly is resolved against the copy's files. They are asked
// for only if they changed, provided that the copy's times and sizes prove something.
func TestAListingThatKnowsFilesNearly(t *testing.T) {
	for name, c := range map[string]struct {
		set        func(b *bench)
		ifModified bool
	}{
		"proved":                {set: func(*bench) {}, ifModified: true},
		"bytes are doubted":     {set: func(b *bench) { b.begin(replica.DoubtBytes) }},
		"they may have lost it": {set: func(b *bench) { b.recordAt("d", inAnotherStay()) }},
		"the record was lost":   {set: func(b *bench) { b.complete(); b.forget() }},
	} {
		b := newBench(t, 0, "f")
		c.set(b)
		b.approximate()
		v := b.visit()
		require.Equal(t, "f", namesOf(v.Plan.Fetch), name)
		require.Equal(t, longAgo.Add(1), v.Plan.Fetch[0].Want.MTime, name)
		require.Equal(t, c.ifModified, v.Approx.IfModified("f"), name)
	}
}

// approximate lets the source list f without a time.
func (b *bench) approximate() {
	b.listing.Approx = autoindex.NewApprox("d", b.listing.Entries, map[string]autoindex.Bounds{"f": {High: -1}}, nil, 0,
		autoindex.Questions{Date: func(context.Context, string) (mtree.Stamp, bool) { return mtree.Stamp{}, false }})
	b.listing.Entries[0].MTime, b.listing.Entries[0].Size = mtree.Stamp{}, 77
}

// Another server is asked for what it no longer lists, unless its listing proves nothing anyway. If it
// has one of these, the directory fails, and nothing in it is extra.
func TestWhatIsNotListedIsAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		hot   bool
		err   error
		asked string
		goes  string
	}{
		"gone":     {asked: "d/old", goes: "old"},
		"there":    {err: errAway, asked: "d/old"},
		"unproved": {hot: true, err: errAway},
	} {
		b := newBench(t, 0, "f old")
		b.list(gone("old"))
		b.listing.Hot = c.hot
		var asked []string
		b.listing.Approx = autoindex.NewApprox("d", b.listing.Entries, map[string]autoindex.Bounds{}, nil, 0, autoindex.Questions{
			Gone: func(_ context.Context, path string, _ mtree.Kind) error { asked = append(asked, path); return c.err },
		})
		v := b.visit()
		require.Equal(t, c.asked, strings.Join(asked, " "), name)
		require.Equal(t, c.goes, v.goes(), name)
		if c.asked != "" && c.err != nil {
			require.Len(t, v.Failed, 1)
			require.Equal(t, "d", v.Failed[0].Path)
			require.ErrorIs(t, v.Failed[0].Err, errAway)
			require.Empty(t, v.Plan.Extra)
		} else {
			require.Empty(t, v.Failed, name)
		}
	}
}

// inAnotherStay is the record of a directory that was begun before the machine was booted.
func inAnotherStay() records.Record {
	const stayShift = 8
	return records.Record{Stamp: mtree.MinStamp.Add(3 << stayShift), Now: before, ID: ours}
}

// A directory is begun, once, before anything in it changes: what is missing or extra, or other
// modes; if it was just made; and if it may go back in time.
func TestWhatBeginsADirectory(t *testing.T) {
	chmod := func(name string) mtree.Entry { e := file(name); e.Size, e.Mode = int64(len(name)), 0o600; return e }
	for name, c := range map[string]struct {
		set   func(b *bench)
		fresh bool
		begun bool
	}{
		"nothing to do":       {set: func(*bench) {}},
		"a directory":         {set: func(b *bench) { b.list(dir("new")) }, begun: true},
		"a symlink":           {set: func(b *bench) { b.list(entry(mtree.Symlink, "new")) }, begun: true},
		"a file":              {set: func(b *bench) { b.list(file("new")) }, begun: true},
		"a mode":              {set: func(b *bench) { b.list(chmod("f")) }, begun: true},
		"one goes":            {set: func(b *bench) { b.list(gone("f")) }, begun: true},
		"files to compare":    {set: func(b *bench) { b.touched("f", before) }},
		"it goes back":        {set: func(b *bench) { b.listing.Stamp = before.Add(-1) }, begun: true},
		"the clock went back": {set: func(b *bench) { b.listing.Now = before.Add(-1) }, begun: true},
	} {
		b := newBench(t, 0, "f")
		c.set(b)
		v := b.visit()
		require.Equal(t, c.begun, v.Begun, name)
		require.Equal(t, c.begun, b.recorded("d").IsUnfinished(), name)
		require.Equal(t, c.begun, b.changes > 0, name)
		require.Equal(t, len(v.Plan.Check) == 1, v.Proved, name)
		require.Equal(t, strings.Contains(name, "compare") || strings.Contains(name, "back"), v.Proved, name)
		require.Equal(t, strings.HasPrefix(name, "a ") && name != "a file", v.Changed, name)
	}
}

// A renamed file was taken over by a hard link, and the deletion of its old name was held. The
// source had two files then, and a mode that one of them got, the other one got, too: nothing
// looked there. A file that may not be read, or for which there is no room, keeps its other names.
func TestModeOfAFileWithTwoNames(t *testing.T) {
	mode := file("f")
	mode.Size, mode.Mode = 1, 0o600
	for why, denied := range map[unix.Errno]bool{0: false, unix.EACCES: true, unix.ENOSPC: true} {
		b := newBench(t, 0, "f")
		require.NoError(t, b.Shell.Link("/copy/d/f", "/copy/other"))
		b.list(mode)
		if denied {
			b.Fail = func(call string) error {
				if call == "open f" && why == unix.EACCES || strings.HasPrefix(call, "write") && why == unix.ENOSPC {
					return why
				}
				return nil
			}
		}
		require.Empty(t, b.visit().Failed)
		b.Fail = nil
		was := map[string]uint32{}
		for _, path := range []string{"/copy/d/f", "/copy/other"} {
			stx, err := b.Shell.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS)
			require.NoError(t, err)
			was[path] = uint32(stx.Mode & 0o777)
			text, err := b.Shell.Read(path)
			require.NoError(t, err)
			require.Equal(t, "f", text)
		}
		require.Equal(t, uint32(0o600), was["/copy/d/f"])
		require.Equal(t, denied, was["/copy/other"] == 0o600)
		require.Equal(t, mode.MTime, b.has()[0].MTime)
	}
}

// What a visit makes by itself: directories, symlinks and modes. What fails leaves the others,
// and a directory that was not made is not visited.
func TestWhatAVisitMakes(t *testing.T) {
	mode := file("f")
	mode.Size, mode.Mode = 1, 0o600
	for fails, made := range map[string]string{"": "e g l f", "mkdir e": "g l f", "symlink": "e g f", "chmod f": "e g l"} {
		b := newBench(t, 0, "f")
		b.list(dir("e"), dir("g"), entry(mtree.Symlink, "l"), mode)
		b.Fail = func(call string) error {
			if fails != "" && strings.HasPrefix(call, fails) {
				return unix.EIO
			}
			return nil
		}
		v := b.visit()
		b.Fail = nil
		require.True(t, v.Changed)
		names := map[string]bool{}
		for _, e := range b.has() {
			names[e.Name] = e.Name != "f" || e.Mode&0o777 == 0o600
		}
		for _, name := range []string{"e", "g", "l", "f"} {
			require.Equal(t, strings.Contains(made, name), names[name], "%s: %s", fails, name)
		}
		require.Equal(t, strings.Contains(made, "e"), strings.Contains(namesOf(v.Below), "e"))
		require.Contains(t, namesOf(v.Below), "g")
		if fails == "" {
			require.Empty(t, v.Failed)
		} else {
			require.Len(t, v.Failed, 1)
			require.ErrorIs(t, v.Failed[0].Err, unix.EIO)
			require.True(t, replica.IsLocal(v.Failed[0].Err))
		}
	}
}
