package publish

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// book is a journal that keeps what is written into it, for a ground.
type book struct {
	g       *ground
	floor   mtree.Stamp
	lines   []journal.Line // of the last batch
	dropped bool           // and then it was dropped
}

func (b *book) Write(floor mtree.Stamp, lines []journal.Line) {
	require.Empty(b.g.t, b.g.order, "written before anything is stamped")
	require.Empty(b.g.t, b.lines, "once a batch")
	require.NotEmpty(b.g.t, lines)
	b.floor, b.lines = floor, slices.Clone(lines)
	for _, l := range lines {
		require.False(b.g.t, l.Unknown && len(l.Names) > 0 || l.Below && !l.Unknown)
	}
	if b.g.during != nil {
		b.g.during()
	}
}

func (b *book) Drop() { b.dropped = true }

// requireAll fails unless each directory that was stamped has a line, or is below one of which
// nothing is known, and is named in the line of the directory that it is in.
func (b *book) requireAll(stamped []string) {
	at := map[string]journal.Line{}
	for _, l := range b.lines {
		at[l.Path] = l
	}
	below := func(dir string) bool {
		for ; dir != ""; dir = mtree.ParentPath(dir) {
			if at[dir].Below {
				return true
			}
		}
		return at[""].Below
	}
	for _, dir := range stamped {
		if dir = strings.TrimPrefix(dir, "."); dir != "" && !below(mtree.ParentPath(dir)) {
			above, ok := at[mtree.ParentPath(dir)]
			require.True(b.g.t, ok && (above.Unknown || slices.Contains(above.Names, path.Base(dir)+"/")), "%s is an entry of what is above it: %v", dir, b.lines)
		}
		_, ok := at[dir]
		require.True(b.g.t, ok || below(dir) || b.dropped, "%s has no line: %v", dir, b.lines)
	}
}

// text is what was written: each directory, what a reader must have, and names.
func (b *book) text() string {
	var all []string
	for _, l := range b.lines {
		dir, span, names := l.Path, "-", strings.Join(l.Names, " ")
		if dir == "" {
			dir = "."
		}
		switch {
		case l.Known && l.From == l.To:
			span = "="
		case l.Known:
			span = "<"
		case l.Unknown:
			span = ""
		}
		switch {
		case l.Below:
			names = "**"
		case l.Unknown:
			names = "*"
		}
		all = append(all, strings.TrimSpace(dir+" "+strings.TrimSpace(span+" "+names)))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// writes publishes a batch, and returns what was written before.
func (g *ground) writes(fill func(b *Batch)) string {
	g.t.Helper()
	g.publish(fill)
	return g.book.text()
}

// both is a batch of several changes.
func both(fills ...func(b *Batch)) func(b *Batch) {
	return func(b *Batch) {
		for _, fill := range fills {
			fill(b)
		}
	}
}

// What is stamped is written down before that, with the names that changed and the child
// directories that are stamped.
func TestJournalBeforeTheStamps(t *testing.T) {
	g := newGround(t, "a/b/f", "a/c/", "d/")
	require.NoError(t, g.Shell.Write("/tree/a/b/new", ""))
	require.NoError(t, g.Shell.Mkdir("/tree/a/sub", 0o755))
	require.Equal(t, ". = a/, a = b/ gone sub/, a/b = f new", g.writes(both(entry("a/b/new"), entry("a/b/f"), entry("a/b/f"), entry("a/gone"), entry("a/sub"))))
	require.Equal(t, g.floor, g.book.floor)
	require.False(t, g.book.dropped)
}

// A child directory that is stamped is an entry of the directory above it.
func TestJournalNamesStampedDirectories(t *testing.T) {
	g := newGround(t, "a/b/c/", "a/b.c", "a/b/f")
	require.Equal(t, ". = a/, a = b/ b.c, a/b = c/, a/b/c *", g.writes(both(dirty("a/b/c"), entry("a/b.c"))))
	require.Equal(t, ". = a/, a = b/, a/b = f", g.writes(both(entry("a/b"), entry("a/b/f"))), "once, as a directory")
}

// Two stamps say what a reader must have: what we gave last, and what the directory shows. The
// kernel moves its time with each name that comes or goes.
func TestJournalOfWhatReadersHave(t *testing.T) {
	g := newGround(t, "a/f")
	line := func() journal.Line {
		require.Equal(t, "a", g.book.lines[0].Path)
		return g.book.lines[0]
	}
	shows := g.info("a").MTime
	g.writes(entry("a/f"))
	require.Equal(t, []mtree.Stamp{shows, shows}, []mtree.Stamp{line().From, line().To}, "nothing is remembered")
	gave := g.stamps["a"]

	g.floor = machine.Now()
	require.NoError(t, g.Shell.Write("/tree/a/new", ""))
	shows = g.info("a").MTime
	require.True(t, shows.After(gave))
	require.Equal(t, ". = a/, a < new", g.writes(entry("a/new")))
	require.Equal(t, []mtree.Stamp{gave, shows}, []mtree.Stamp{line().From, line().To})

	require.NoError(t, g.Shell.Touch("/tree/a", time.Unix(1000, 0), true))
	g.floor = machine.Now()
	require.Equal(t, ". = a/, a - f", g.writes(entry("a/f")), "it shows less than that")

	g = newGround(t, "a/f")
	require.Equal(t, ". - a/, a - f", g.writes(func(b *Batch) { b.Unsure = true; entry("a/f")(b) }))
}

// Somebody set the times of a directory: an older stamp may have stood there, and was read.
// The time that it shows says nothing then, nor in the first line after that.
func TestJournalAfterATool(t *testing.T) {
	g := newGround(t, "a/f")
	require.NoError(t, g.Shell.Chmod("/tree/a", 0o700))
	require.Equal(t, ". = a/, a *", g.writes(self("a")), "without a span: names may have been hidden")
	g = newGround(t, "a/f")
	g.writes(entry("a/f"))
	require.NoError(t, g.Shell.Touch("/tree/a", time.Unix(1000, 0), true))
	g.floor = machine.Now()
	require.Equal(t, ". = a/, a *", g.writes(both(self("a"), entry("a/f"))))
	gave := g.stamps["a"]
	g.floor = machine.Now()
	for _, span := range []string{"=", "<"} {
		require.NoError(t, g.Shell.Write("/tree/a/new"+span, ""))
		require.Equal(t, ". = a/, a "+span+" new"+span, g.writes(entry("a/new"+span)))
		require.Equal(t, gave, g.book.lines[0].From)
		gave = g.stamps["a"]
		g.floor = machine.Now()
	}
}

// Somebody set who may read a directory after a batch was planned and before it was stamped. The
// event of that came with the next batch, where the directory showed what we had written: nothing
// was written down, and a reader was told of names that came and went while it was closed.
func TestSetSinceThePlan(t *testing.T) {
	for name, set := range map[string]func(g *ground){
		"mode, and a file is made":  func(g *ground) { require.NoError(t, g.Shell.Chmod("/tree/a", 0o700)); g.make("a/new") },
		"owner, and a file is made": func(g *ground) { require.NoError(t, g.Shell.Chown("/tree/a", 7)); g.make("a/new") },
		"an access list, say":       func(g *ground) { require.NoError(t, g.Shell.Chmod("/tree/a", 0o755)) },
		"":                          nil,
	} {
		g := newGround(t, "a/f")
		g.during = func() {
			if set != nil {
				set(g)
			}
		}
		g.writes(entry("a/f"))
		g.during = nil
		g.floor = machine.Now()
		require.Equal(t, map[bool]string{true: ". = a/, a *", false: ""}[set != nil], g.writes(self("a")), name)
	}
}

// With inotify, our own stamp has an event. Other changes of the directory came with it, so it
// did not show any more what we had written, and each such batch told no names: in a directory in
// which files are made without a pause, nearly every one.
func TestOwnEventsAmongOthers(t *testing.T) {
	together := func(selves int, drained bool) func(b *Batch) {
		return func(b *Batch) {
			events(b, notify.DirEvents{Path: "a", Self: selves, Entries: []notify.Entry{{Name: "f"}}})
			b.Drained = drained
		}
	}
	for name, c := range map[string]struct {
		before, then func(b *Batch)
		unheard      bool
		names        string
	}{
		"ours":                                 {then: together(1, true), names: "< f"},
		"ours, and one of somebody else":       {then: together(2, true), names: "*"},
		"more may be under way":                {then: together(1, false), names: "*"},
		"ours came before":                     {before: together(1, true), then: together(2, true), names: "*"},
		"a source that does not tell of us":    {unheard: true, then: together(1, true), names: "*"},
		"no name came with it":                 {then: both(self("a"), func(b *Batch) { b.Drained = true }), names: "*"},
		"ours was told of, nothing is to come": {before: func(b *Batch) { b.Drained = true }, then: together(1, true), names: "*"},
	} {
		g := newGround(t, "a/f", "a/g")
		g.ear.OwnEvents = !c.unheard
		g.Age(t, "/tree/a")
		g.OwnWrites.Put(g.info("a"), 0, ownwrites.Unproven, true)
		require.Equal(t, ". = a/, a = f", g.writes(entry("a/f")), name)
		wrote := ""
		for _, batch := range []func(b *Batch){c.before, c.then} {
			if batch != nil {
				require.NoError(t, g.Shell.Write("/tree/a/new", ""))
				require.NoError(t, g.Shell.Remove("/tree/a/new"))
				g.floor = machine.Now()
				wrote = g.writes(batch)
			}
		}
		require.Equal(t, ". = a/, a "+c.names, wrote, name)
	}
}

// Somebody set who may read a directory before a batch was planned, and the event of that came with
// the next one. By then the directory showed what we had written, and a line told the names that
// had come and gone in between.
func TestSetBeforeThePlan(t *testing.T) {
	for name, c := range map[string]struct {
		set, ours, undrained bool
		selves               int
		names                string
	}{
		"nobody":                         {names: "< f"},
		"somebody":                       {set: true, selves: 1, names: "*"},
		"somebody, and we":               {set: true, ours: true, selves: 2, names: "*"},
		"we":                             {ours: true, selves: 1, names: "< f"},
		"we, and more may be under way":  {ours: true, undrained: true, selves: 1, names: "< f"},
		"nobody tells of us, nobody set": {ours: true, names: "< f"},
	} {
		g := newGround(t, "a/f", "a/g")
		g.ear.OwnEvents = c.ours
		g.OwnWrites.Put(g.info("a"), 0, ownwrites.Unproven, true)
		if c.set {
			require.NoError(t, g.Shell.Chmod("/tree/a", 0o700))
			require.NoError(t, g.Shell.Chmod("/tree/a", 0o755))
		}
		g.writes(entry("a/f"))
		require.NoError(t, g.Shell.Write("/tree/a/f", "in place"))
		g.floor = machine.Now()
		wrote := g.writes(func(b *Batch) {
			events(b, notify.DirEvents{Path: "a", Self: c.selves, Entries: []notify.Entry{{Name: "f"}}})
			b.Drained = !c.undrained
		})
		require.Equal(t, ". = a/, a "+c.names, strings.Replace(wrote, "a = f", "a < f", 1), name)
	}
}

// As in TestSetBeforeThePlan, but the event came alone: nothing changed then, and no line said anything.
// So the batch itself looks.
func TestSetAfterTheEvents(t *testing.T) {
	for _, old := range []bool{false, true} {
		g := newGround(t, "a/f")
		require.NoError(t, g.Shell.Chmod("/tree/a", 0o755))
		want := ". = a/, a *"
		if old {
			g.floor, want = machine.Now(), ". = a/, a = f"
		}
		require.Equal(t, want, g.writes(entry("a/f")), "what was set long ago was published long ago")
	}
}

// Mounts may show a directory at two places. Its events are copied to the second one, and are ours
// there, too.
func TestOwnEventsOfTwoPlaces(t *testing.T) {
	g := newGround(t, "a/f")
	g.ear.OwnEvents = true
	g.OwnWrites.Put(g.info("a"), 0, ownwrites.Unproven, true)
	g.writes(entry("a/f"))
	info := g.info("a")
	p := &publisher{Tree: g.Tree, batch: &Batch{Drained: true}}
	for range 2 {
		c, n := &dirChange{self: true, selves: 1}, &names{changes: true}
		d := g.open("a")
		p.lookAtSelf(d, info, c, "a", n)
		require.NoError(t, d.Close())
		require.False(t, c.self || n.set)
	}
}

// A name was that of a directory for a moment, and got that of a file with other names in the
// directory, which was written through it. Nothing was heard at the others.
func TestLinkInThePlaceOfADirectory(t *testing.T) {
	for _, unread := range []bool{false, true} {
		for links, want := range map[int]string{1: ". = a/, a = d/, a/d **", 2: ". = a/, a = *, a/d **"} {
			g := newGround(t, "a/f")
			if unread {
				g.make("a/d/")
				g.settle()
				g.unread("a/d")
				require.NoError(t, g.Shell.Unlinkat(unix.AT_FDCWD, "/tree/a/d", unix.AT_REMOVEDIR))
			}
			if links > 1 {
				require.NoError(t, g.Shell.Link("/tree/a/f", "/tree/a/d"))
			} else {
				require.NoError(t, g.Shell.Write("/tree/a/d", ""))
			}
			g.floor = machine.Now()
			batch := arrival("a/d")
			if unread {
				batch = entry("a/d")
			}
			require.Equal(t, want, g.writes(batch))
		}
	}
}

// Our own writes are no changes: nothing is written down for them, nor for what a batch says
// that is not so any more.
func TestNothingToWriteDown(t *testing.T) {
	g := newGround(t, "a/b/")
	g.OwnWrites.Put(g.info("a/b"), 0, ownwrites.Unproven, true)
	for _, nothing := range []func(b *Batch){self("a/b"), entry("a/b"), dirty("gone"), retry("gone"), entry(mtree.MarkerName)} {
		require.Equal(t, "", g.writes(nothing))
		require.Empty(t, g.order)
	}
	g.unread("a/b")
	g.Refuse("open b", unix.EACCES, -1)
	require.Equal(t, "", g.writes(retry("a/b")), "it cannot be read yet")
}

// Changes without names.
func TestJournalOfUnknownNames(t *testing.T) {
	g := newGround(t, "a/f")
	require.Equal(t, ". = a/, a *", g.writes(both(dirty("a"), entry("a/f"))))
	many := func(n int) func(b *Batch) {
		return func(b *Batch) {
			for i := range n {
				b.AddEntry("a", fmt.Sprintf("f%04d", i))
			}
		}
	}
	g.writes(many(journal.MaxNames))
	require.Len(t, g.book.lines[0].Names, journal.MaxNames)
	require.Equal(t, ". = a/, a = *", g.writes(many(journal.MaxNames+1)), "nobody set who may read it")
	require.Equal(t, ". *", g.writes(func(b *Batch) { b.AddReadable("a") }), "it could not be listed before")
}

// What an audit found has no names. Where a directory may have arrived nothing is known of
// those below it.
func TestJournalOfFindings(t *testing.T) {
	for _, below := range []bool{false, true} {
		g := newGround(t, "a/b/")
		found := audit.Finding{Path: "a", MTime: mtree.MinStamp, CTime: mtree.MinStamp, Below: below}
		want := ". = a/, a *"
		if below {
			want = ". = a/, a **"
		}
		require.Equal(t, want, g.writes(func(b *Batch) {
			b.AddFindings([]audit.Finding{{Path: "a", MTime: mtree.MinStamp, CTime: mtree.MinStamp}, found})
		}))
	}
}

// What arrived under a name is nothing that a reader of that name knows, nor what is in it.
func TestJournalOfArrivals(t *testing.T) {
	g := newGround(t, "a/")
	g.bring("x/y/z/", "x/f")
	require.Equal(t, ". = a/ x/, a = g, x **", g.writes(both(arrival("x"), entry("x/f"), entry("a/g"))))
	require.Equal(t, "a x/y/z x/y x .", strings.Join(g.order, " "))
	require.Equal(t, ". = gone/, gone **", g.writes(arrival("gone")), "it left again, and had its name")
}

// What could not be read counts as arrived once it can be. Until then its mode and its owner
// are published.
func TestJournalOfUnread(t *testing.T) {
	for _, c := range []struct {
		what   string
		fill   func(b *Batch)
		closed bool
		want   string
	}{
		{"tried again", retry("a/b"), false, ". = a/, a = b/, a/b **"},
		{"its mode was set", self("a/b"), false, ". = a/, a = b/, a/b **"},
		{"its name was heard", entry("a/b"), false, ". = a/, a = b/, a/b **"},
		{"and it cannot be read", self("a/b"), true, ". = a/, a = b/"},
		{"its name, and it cannot be read", entry("a/b"), true, ". = a/, a = b/"},
	} {
		g := newGround(t, "a/b/c/")
		g.unread("a/b")
		if c.closed {
			g.Refuse("open b", unix.EACCES, -1)
		}
		require.Equal(t, c.want, g.writes(c.fill), c.what)
	}
	g := newGround(t, "a/b/c/")
	g.Refuse("open b", unix.EACCES, -1)
	require.Equal(t, ". = a/, a = b/", g.writes(dirty("a/b")), "it cannot be read any more")
}

// Where another watch runs, or ran, nothing is known of what its readers have.
func TestJournalOfBorders(t *testing.T) {
	g := newGround(t, "a/b/", "a/"+mtree.MarkerName+"/")
	require.Equal(t, ". = a/, a **", g.writes(entry("a/"+mtree.MarkerName)))
	require.Equal(t, "a/b a .", strings.Join(g.order, " "))
	g = newGround(t, "a/b/")
	g.live("a")
	require.Equal(t, ". = a/, a **", g.writes(entry("a/"+mtree.MarkerName)))
	require.Equal(t, ".", strings.Join(g.order, " "))
	require.Equal(t, "", g.writes(entry("a/f")))
}

// Another name of a file in the same directory shows the same change, and nothing is heard
// at it.
func TestJournalOfHardLinks(t *testing.T) {
	g := newGround(t, "a/f", "a/g")
	require.NoError(t, g.Shell.Link("/tree/a/f", "/tree/a/h"))
	require.Equal(t, ". = a/, a = *", g.writes(entry("a/f")))
	require.Equal(t, ". = a/, a = g", g.writes(entry("a/g")))
}

// A name was written, and something else got it. What was written may have other names in the
// directory, at which nothing was heard: also where a directory got the name.
func TestReplacedInTheEvents(t *testing.T) {
	for _, e := range []notify.Entry{{}, {Arrived: true}} {
		g := newGround(t, "a/f")
		if e.Name, e.Written, e.Replaced, e.Came = "f", true, true, true; e.Arrived {
			require.NoError(t, g.Shell.Remove("/tree/a/f"))
			g.make("a/f/")
		}
		require.Contains(t, g.writes(named("a", e, true)), "a = *")
	}
}

// A name was written, and after the events of that were taken something else got it, before the
// plan looked at it. The event of that comes in the next batch, or in a later one if the kernel
// held more events.
func TestReplacedBehindTheEvents(t *testing.T) {
	written, came := notify.Entry{Name: "f", Written: true}, notify.Entry{Name: "f", Came: true}
	g := newGround(t, "a/f", "a/g", "b/f")
	require.Equal(t, ". = a/, a = f", g.writes(named("a", written, true)))
	require.Equal(t, ". = a/ b/, a = *, b = f", g.writes(both(named("a", came, true), named("b", came, true))))
	require.Equal(t, ". = a/, a = f", g.writes(named("a", came, true)), "all events up to the plan were taken")

	require.Equal(t, ". = a/, a = f", g.writes(named("a", written, true)))
	require.Equal(t, ". = a/, a = g", g.writes(named("a", notify.Entry{Name: "g"}, false)))
	require.Equal(t, ". = a/, a = *", g.writes(named("a", came, true)))

	require.Equal(t, ". = a/, a = f", g.writes(named("a", written, true)))
	for i := range latelySize {
		g.lately.add("b", fmt.Sprint(i))
	}
	require.Equal(t, ". = b/, b = *", g.writes(named("b", came, false)), "there are more than are kept")

	require.NoError(t, g.Shell.Remove("/tree/a/f"))
	g.make("a/f/")
	require.Equal(t, ". = a/, a < *", g.writes(named("a", written, true)), "a directory got the name")
}

// named adds a name to a batch, and whether all events are in it.
func named(dir string, e notify.Entry, drained bool) func(b *Batch) {
	return func(b *Batch) {
		b.Drained = drained
		events(b, notify.DirEvents{Path: dir, Entries: []notify.Entry{e}})
	}
}

// Of a directory that refused its stamp readers may have listings with the time that it
// showed instead.
func TestJournalOfWhatRefused(t *testing.T) {
	g := newGround(t, "a/f")
	set := g.SetTime
	g.SetTime = func(d *disk.Dir, stamp mtree.Stamp) error {
		if path.Base(d.Path()) == "a" {
			return unix.EPERM
		}
		return set(d, stamp)
	}
	g.publishBatch(batchOf(entry("a/f")))
	require.Equal(t, ". = a/, a = f", g.book.text())
	g.SetTime = set
	require.Equal(t, ". = a/, a *", g.writes(entry("a/f")))
	require.Equal(t, ". = a/, a = f", g.writes(entry("a/f")), "it has shown its stamp since")

	g = newGround(t, "a/f")
	g.refused("a")
	require.Equal(t, ". = a/, a *", g.writes(entry("a/f")), "in an earlier run")

	for _, at := range []string{"a", ""} { // the root is not told apart from its time
		g = newGround(t, "a/f")
		g.SetTime = func(*disk.Dir, mtree.Stamp) error { return unix.EPERM }
		g.publishBatch(batchOf(dirty(at)))
		g.SetTime = (*disk.Dir).SetTime
		g.publishBatch(batchOf(func(b *Batch) { b.AddFindings([]audit.Finding{{Path: at, ShowOnly: true}}) }))
		require.Equal(t, "", g.book.text(), "for readers nothing changes")
		g.publishBatch(batchOf(entry(path.Join(at, "f"))))
		require.Contains(t, strings.Split(g.book.text(), ", "), path.Join(".", at)+" *", "it shows its stamp by now")
	}
}

func batchOf(fill func(b *Batch)) *Batch {
	b := new(Batch)
	fill(b)
	return b
}

// What is to be stamped and was not written down ends the journal before it is stamped.
func TestStampedWithoutALine(t *testing.T) {
	g := newGround(t, "a/b/", "a/f")
	g.writes(entry("a/f"))
	p := publisher{Tree: g.Tree, batch: new(Batch), announced: map[string]announced{"": {}, "a": {}, "x": {below: true}}}
	for at, dropped := range map[string]bool{"": false, "a": false, "a/b": true, "x": false, "x/y": false, "x/y/z": false, "xy": true, "b": true} {
		g.book.dropped = false
		p.check(at)
		require.Equal(t, dropped, g.book.dropped, at)
	}
	g.book.dropped = false
	g.SetTime = func(*disk.Dir, mtree.Stamp) error {
		require.True(t, g.book.dropped)
		return nil
	}
	p.write(g.open("a/b"), "a/b", 0, g.floor.Add(1), nil, mtree.MinStamp, 0)
	p.Tree.Journal = nil
	p.check("a/b")
}

// Directories that are opened again, because too many are in the batch, are the same ones.
// Another one that has the name by then has its own event.
func TestReplacedSinceThePlan(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		g := newGround(t, "a/f")
		for i := range maxHeld {
			g.make(fmt.Sprintf("d%03d/", i))
		}
		g.make("z/f", "other/")
		g.settle()
		opened := 0
		g.Fail = func(call string) error {
			if call == "open z" {
				opened++
			}
			return nil
		}
		if replaced {
			g.during = func() {
				require.NoError(t, g.Shell.Rename("/tree/z", "/tree/away", 0))
				require.NoError(t, g.Shell.Rename("/tree/other", "/tree/z", 0))
			}
		}
		all := []func(b *Batch){entry("a/f"), entry("z/f")}
		for i := range maxHeld {
			all = append(all, dirty(fmt.Sprintf("d%03d", i)))
		}
		g.publishBatch(batchOf(both(all...)))
		require.Equal(t, !replaced, slices.Contains(g.order, "z"))
		require.Equal(t, 2, opened)
		require.Len(t, g.book.lines, maxHeld+3)
	}
}

// A directory that is opened again may be gone, another one, or not to be opened by then. The
// directory above it is stamped for the last only: its readers must not look there any more.
func TestOpenedAgain(t *testing.T) {
	for what, c := range map[string]struct {
		during  func(g *ground)
		stamped bool // the directory above
	}{
		"gone": {func(g *ground) { require.NoError(t, g.Shell.Remove("/tree/z/b")) }, false},
		"another one": {func(g *ground) {
			require.NoError(t, g.Shell.Rename("/tree/z/b", "/tree/away", 0))
			require.NoError(t, g.Shell.Rename("/tree/other", "/tree/z/b", 0))
		}, false},
		"not to be opened": {func(g *ground) { g.Refuse("open b", unix.EIO, -1) }, true},
	} {
		g := newGround(t, "z/b/", "other/")
		changes := []func(b *Batch){dirty("z/b")}
		for i := range maxHeld {
			g.make(fmt.Sprintf("d%03d/", i))
			changes = append(changes, dirty(fmt.Sprintf("d%03d", i)))
		}
		g.settle()
		g.during = func() { c.during(g) }
		g.publishBatch(batchOf(both(changes...)))
		require.Equal(t, c.stamped, slices.Contains(g.order, "z"), what)
		require.NotContains(t, g.order, "z/b", what)
		require.Equal(t, c.stamped, g.isUnread("z/b"), what)
	}
}

// A directory of a batch is opened once, and closed after its stamp: else watch ran out of descriptors.
func TestOpenedOnce(t *testing.T) {
	g := newGround(t, "a/b/", "c/")
	open := len(g.Open)
	require.Equal(t, "a/b a c .", g.publish(both(dirty("a/b"), dirty("c"))))
	require.Equal(t, 1, g.Made("open b"))
	require.Len(t, g.Open, open)
}

// What happens to an entry after it was looked at has its own event: it adds nothing to what
// was written down.
func TestChangedSinceThePlan(t *testing.T) {
	g := newGround(t, "a/b/", "a/f")
	g.OwnWrites.Put(g.info("a/b"), 0, ownwrites.Unproven, true)
	g.during = func() {
		require.NoError(t, g.Shell.Chmod("/tree/a/b", 0o700))
		require.NoError(t, g.Shell.Remove("/tree/a/f"))
	}
	require.Equal(t, ". = a/, a = f", g.writes(both(entry("a/b"), self("a/b"), entry("a/f"))))
	require.Equal(t, "a .", strings.Join(g.order, " "))
	require.False(t, g.book.dropped)
	g.during = nil
	require.Equal(t, "", g.writes(func(b *Batch) { events(b, notify.DirEvents{Path: "a/b"}) }))
}
