package pass

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/journal"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// view reads the journal of the copy, as serve does.
func (r *rig) view() (journal.View, error) {
	m, err := state.OpenMarker(r.replica.Root, "")
	require.NoError(r.t, err)
	defer m.Close()
	tree := r.replica.Tree()
	return new(journal.Follower).Read(m, journal.Tree{ID: tree.ID, Epoch: tree.Epoch})
}

// lines returns the lines of the journal that the last batches of a reader's root stamp have.
func (r *rig) lines(since mtree.Stamp) (all []string) {
	view, err := r.view()
	if err != nil {
		return nil
	}
	batches, ok := view.Since(since)
	require.True(r.t, ok)
	for _, b := range batches {
		for _, l := range b.Lines {
			text := "/" + l.Path
			switch {
			case l.Below:
				text += " **"
			case l.Unknown:
				text += " *"
			default:
				require.Equal(r.t, l.From, l.To)
				text += " " + strings.Join(l.Names, ",")
			}
			all = append(all, text)
		}
	}
	return all
}

// A pass tells the names that it changed, once it has stamped their directories itself.
func TestTheJournalOfACopy(t *testing.T) {
	simulate(t, "", "a/b/f a/b/g a/h c/i", func(t *testing.T, r *rig) {
		require.Empty(t, r.lines(mtree.MinStamp), "the first pass has none")
		root, _ := r.record("")
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b f", "/a b/", "/ *"}, r.lines(root.Stamp), "the root was not made by the pass")
		root, _ = r.record("")
		r.Tree.Mkdir("a/new")
		r.Tree.Write("a/new/x")
		r.Tree.Chmod("c/i")
		r.remove("a/b/g a/h")
		r.complete()
		require.ElementsMatch(t, []string{"/a/new **", "/a/b g", "/a b/,h,new/", "/c i", "/ a/,c/"}, r.lines(root.Stamp))
		r.Calls = nil
		r.complete()
		require.Zero(t, r.Made("write journal"), "an idle copy writes nothing")
	})
}

// No names are told of a directory that this run of mirror has not stamped, or that somebody
// touched; nor in a full walk, or after a pass that left something incomplete.
func TestLinesOfACopy(t *testing.T) {
	simulate(t, "", "a/b/f a/g c/i", func(t *testing.T, r *rig) {
		r.replica.Close()
		r.open(replica.Options{})
		root, _ := r.record("")
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b *", "/a *", "/ *"}, r.lines(root.Stamp))

		root, _ = r.record("")
		require.NoError(t, r.Shell.Write("/copy/a/local", "x"))
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b f", "/a **", "/ a/"}, r.lines(root.Stamp))

		root, _ = r.record("")
		r.Tree.Chmod("a/b")
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b *", "/a b/", "/ a/"}, r.lines(root.Stamp), "who may read it was set")
		root, _ = r.record("")
		r.Tree.Chmod("a/g")
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b f", "/a b/,g", "/ a/"}, r.lines(root.Stamp))

		r.write("c/i")
		r.full()
		require.Empty(t, r.lines(root.Stamp))
		root, _ = r.record("")
		r.write("c/i")
		r.complete()
		require.Equal(t, []string{"/c i", "/ c/"}, r.lines(root.Stamp))

		r.write("a/b/f c/i")
		r.lose(unix.EIO, "fetch /a/b/f")
		require.False(t, r.pass().Complete)
		require.Empty(t, r.lines(root.Stamp), "directories show times that no batch tells")
		r.lose(nil)
		r.complete()
		require.Empty(t, r.lines(root.Stamp))
		root, _ = r.record("")
		r.write("c/i")
		r.complete()
		require.Equal(t, []string{"/c i", "/ c/"}, r.lines(root.Stamp))
	})
}

// Which passes announce their stamps: those of which it is known with which stamp the copy was
// complete before, and whose stamps say something.
func TestWhichPassesAnnounce(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(p *pass, root *node)
		want bool
	}{
		"complete before":    {set: func(*pass, *node) {}, want: true},
		"no record":          {set: func(_ *pass, root *node) { root.had = false }},
		"unfinished":         {set: func(_ *pass, root *node) { root.before.Stamp = mtree.MinStamp.Add(7) }},
		"another root":       {set: func(_ *pass, root *node) { root.Doubts = replica.DoubtBytes }},
		"a full walk":        {set: func(p *pass, _ *node) { p.full = true }},
		"a dry run":          {set: func(p *pass, _ *node) { p.env.DryRun = true }},
		"stamps say nothing": {set: func(p *pass, _ *node) { p.env.Root.State = wire.Unwatched }},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun()
			root := p.ready[0]
			c.set(p, root)
			require.Equal(t, c.want, p.mayAnnounce(root))
			require.Equal(t, root.before.Stamp, p.floor)
		})
	}
}

// Which directories have a line, and what it says: names if nothing else can have changed since the
// directory got the stamp that it has.
func TestTheLineOfADirectory(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(n *node)
		line string
	}{
		"as it was":              {set: func(*node) {}},
		"another stamp":          {set: func(n *node) { n.Record.Stamp = later }, line: "/a f"},
		"something changed":      {set: func(n *node) { n.changed = true }, line: "/a f"},
		"begun":                  {set: func(n *node) { n.begun = true }, line: "/a f"},
		"touched":                {set: func(n *node) { n.intact = false }, line: "/a **"},
		"made by the pass":       {set: func(n *node) { n.begun, n.Fresh = true, true }, line: "/a **"},
		"readers may lack more":  {set: func(n *node) { n.begun, n.news.isGiven = true, false }, line: "/a *"},
		"too many names":         {set: func(n *node) { n.begun, n.news.many = true, true }, line: "/a *"},
		"another directory":      {set: func(n *node) { n.begun, n.Doubts = true, replica.DoubtBytes }, line: "/a *"},
		"who may read it is set": {set: func(n *node) { n.begun, n.set = true, true }, line: "/a *"},
		"it gets no stamp":       {set: func(n *node) { n.begun, n.blocked = true, true }},
	} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			p := r.begun("a")
			p.announces, p.floor = true, p.ready[1].before.Stamp
			for _, n := range p.ready {
				n.Record, n.intact, n.news = n.before, true, news{isGiven: true, names: []string{"f"}}
			}
			c.set(p.ready[0])
			p.ready[1].begun = true
			p.announce(p.ready)
			require.Equal(t, strings.TrimPrefix(c.line+"; / f", "; "), strings.Join(r.lines(p.floor), "; "))
		})
	}
}

// A full walk that finds nothing new leaves what is known of a directory as it is.
func TestAWalkWithoutNews(t *testing.T) {
	for name, want := range map[string]string{"known": "/a f", "a mirror that starts": "/a *"} {
		simulate(t, name, "a/f", func(t *testing.T, r *rig) {
			for range 2 {
				r.write("a/f")
				r.complete()
			}
			if name != "known" {
				r.replica.Close()
				r.open(replica.Options{})
			}
			r.full()
			root, _ := r.record("")
			r.write("a/f")
			r.complete()
			require.Equal(t, want, r.lines(root.Stamp)[0])
		})
	}
}

// Readers may have a directory that an earlier mirror began with any stamp: no names are told of it
// until it got two stamps.
func TestADirectoryThatAnEarlierMirrorBegan(t *testing.T) {
	simulate(t, "", "a/f", func(t *testing.T, r *rig) {
		require.NoError(t, r.replica.MarkUnfinished("a"))
		r.replica.Close()
		r.open(replica.Options{})
		r.complete()
		for _, want := range []string{"/a *", "/a f"} {
			root, _ := r.record("")
			r.write("a/f")
			r.complete()
			require.Equal(t, want, r.lines(root.Stamp)[0])
		}
	})
}

// A full walk copies what the source has not published yet, under the stamps that directories have.
// With these, readers may lack it: so the next pass, which finds it there, tells no names.
func TestAWalkThatComesBeforeAStamp(t *testing.T) {
	simulate(t, "", "a/b/f", func(t *testing.T, r *rig) {
		for range 2 {
			r.write("a/b/f")
			r.complete()
		}
		r.Tree.Write("a/b/f") // in place: the kernel moves no time
		r.full()
		root, _ := r.record("")
		r.Tree.Publish()
		r.complete()
		require.Equal(t, []string{"/a/b *", "/a *", "/ *"}, r.lines(root.Stamp))
		root, _ = r.record("")
		r.write("a/b/f")
		r.complete()
		require.Equal(t, []string{"/a/b f", "/a b/", "/ a/"}, r.lines(root.Stamp))
	})
}

// A pass announces a directory and cannot stamp it. A full walk that stamps it instead announces
// nothing: readers do not take the line of the pass before for what the walk changed.
func TestAWalkAfterAStampThatFailed(t *testing.T) {
	simulate(t, "", "a/b/f", func(t *testing.T, r *rig) {
		for range 2 {
			r.write("a/b/f")
			r.complete()
		}
		root, _ := r.record("")
		r.Tree.Write("a/b/x")
		r.Tree.Remove("a/b/x")
		r.Tree.Publish()
		r.Refuse("setxattr b", unix.EIO, 1)
		require.False(t, r.pass().Complete)
		require.Equal(t, []string{"/a/b ", "/a b/", "/ a/"}, r.lines(root.Stamp))
		r.Tree.Write("a/g") // in place: the kernel moves no time
		r.full()
		require.Empty(t, r.lines(root.Stamp))
	})
}

// copied is what a reader of the copy may have of a directory: what it showed with one stamp.
type copied map[string]disk.Info

// follower remembers everything that a reader of the copy may have of any directory, and checks
// that what the journal tells leads from there to what the directory shows now.
type follower struct {
	r      *rig
	had    map[string]map[mtree.Stamp][]copied
	roots  []mtree.Stamp   // what the root showed
	parted int             // how often the names of a line were enough
	local  map[string]bool // what somebody else wrote in the copy, and its directories
}

// look looks at all directories that are complete.
func (f *follower) look() {
	root, _ := f.r.replica.Dir("")
	info, err := root.Self()
	require.NoError(f.r.t, err)
	_ = root.Close()
	f.roots = append(f.roots, info.MTime)
	for _, path := range append([]string{"/"}, strings.Fields(f.r.paths())...) {
		if !strings.HasSuffix(path, "/") {
			continue
		}
		path = strings.TrimSuffix(path, "/")
		record, complete := f.r.record(path)
		if !complete {
			continue
		}
		now := f.read(path)
		if first := f.had[path][record.Stamp]; len(first) > 0 {
			f.check(path, record.Stamp, first[0]) // what it shows besides has no stamp yet
		} else {
			f.check(path, record.Stamp, now)
		}
		if f.had[path] == nil {
			f.had[path] = map[mtree.Stamp][]copied{}
		}
		f.had[path][record.Stamp] = append(f.had[path][record.Stamp], now)
	}
}

func (f *follower) read(path string) copied {
	dir, err := f.r.replica.Dir(path)
	require.NoError(f.r.t, err)
	defer dir.Close()
	names, err := dir.Names()
	require.NoError(f.r.t, err)
	now := copied{}
	for _, name := range names {
		info, err := dir.Stat(name)
		require.NoError(f.r.t, err)
		now[name] = info
	}
	return now
}

// check asks the journal for each stamp that a reader may have, and for each S.
func (f *follower) check(path string, stamp mtree.Stamp, now copied) {
	view, err := f.r.view()
	if err != nil {
		return
	}
	for was, all := range f.had[path] {
		for _, s := range f.roots {
			told := view.Told(path, s)
			suffices := false
			for _, span := range told.Spans {
				suffices = suffices || !was.Before(span.From) && !was.After(span.To)
			}
			if told.Whole || !suffices || !stamp.After(was) {
				continue
			}
			f.parted++
			for _, old := range all {
				f.compare(path, old, now, told.Names)
			}
		}
	}
}

// compare requires that two states of a directory differ in these names only. A reader that has
// another directory under its path does not go by parts.
func (f *follower) compare(path string, old, now copied, told []string) {
	all := map[string]bool{}
	for name := range old {
		all[name] = true
	}
	for name := range now {
		all[name] = true
	}
	for _, name := range told {
		delete(all, name)
	}
	for name := range all {
		a, b := old[name], now[name]
		if f.local[mtree.JoinPath(path, name)] {
			continue // no pass by parts looks there
		}
		same := a.Kind == b.Kind && a.MTime == b.MTime && a.Mode == b.Mode && (a.Kind == mtree.Dir || a.Size == b.Size)
		assert.True(f.r.t, same, "%q in %q changed, and is not among %q: %v, %v", name, path, told, a, b)
	}
}

// change makes one random change at the source, or in the copy.
func (f *follower) change(random *rand.Rand) string {
	dirs, names := []string{"", "a/", "a/b/", "c/", "c/d/"}, []string{"f", "g", "b", "d", "e"}
	path := func() string { return dirs[random.IntN(len(dirs))] + names[random.IntN(len(names))] }
	tree, p, q := f.r.Tree, path(), path()
	switch random.IntN(16) {
	case 0, 1, 2, 3, 4:
		return fmt.Sprint("write ", p, tree.Write(p))
	case 5:
		return fmt.Sprint("mkdir ", p, tree.Mkdir(p))
	case 6, 7:
		return fmt.Sprint("remove ", p, tree.Remove(p))
	case 8:
		return fmt.Sprint("move ", p, q, tree.Move(p, q))
	case 9:
		return fmt.Sprint("chmod ", p, tree.Chmod(p))
	case 10:
		return fmt.Sprint("old ", p, tree.WriteOld(p))
	case 11:
		if random.IntN(3) == 0 {
			f.local[p], f.local[mtree.ParentPath(p)] = true, true
			return fmt.Sprint("local ", p, f.r.Shell.Write("/copy/"+p, "local"))
		}
	case 12:
		return fmt.Sprint("replace ", p, tree.Replace(p))
	}
	tree.Publish()
	return "publish"
}

// pass runs a pass in one of the ways in which one may end.
func (f *follower) pass(random *rand.Rand) string {
	r, what := f.r, "pass"
	r.Fail, r.Fault, r.options.CommitFiles = nil, nil, 1000
	switch n := random.IntN(12); n {
	case 0:
		what = "reopened"
		r.replica.Close()
		r.open(replica.Options{})
		r.options.Memory = &Memory{}
	case 1:
		what = "walk"
		r.options.Full = true
	case 2, 3:
		at, calls := 1+random.IntN(60), 0
		what = fmt.Sprintf("call %d fails", at)
		r.Fail = func(call string) error {
			if calls++; calls == at && !strings.Contains(call, "held") && !strings.Contains(call, "status") {
				return unix.EIO
			}
			return nil
		}
	case 4:
		at, asked := 1+random.IntN(6), 0
		what = fmt.Sprintf("request %d fails", at)
		r.Fault = func(string) error {
			if asked++; asked > 1 && asked == at+1 {
				return unix.EIO
			}
			return nil
		}
	case 5:
		r.options.CommitFiles = 1 + random.IntN(4)
	}
	var err error
	if random.IntN(2) == 0 {
		_, err = r.try()
	} else {
		what += " by parts"
		r.Parts = func(string) bool { return true }
		<-time.After(r.wait)
		root, rootErr := r.Root(r.ctx, source.Poll{Known: "-", Since: &r.top, Parts: true})
		require.NoError(r.t, rootErr)
		_, err = r.tryFrom(&root)
	}
	r.Fail, r.Fault, r.Parts, r.options.Full = nil, nil, nil, false
	return fmt.Sprint(what, " ", err)
}

// What the journal of a copy tells leads each of its readers from any stamp to what the directory
// shows now, whatever happens to the passes.
func TestFollowersOfACopy(t *testing.T) {
	parted := 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 15))
			f := &follower{r: newRig(t, 0), had: map[string]map[mtree.Stamp][]copied{}, local: map[string]bool{}}
			f.r.wait = time.Minute
			var history []string
			defer func() {
				if t.Failed() {
					t.Logf("seed %d: %s", seed, strings.Join(history, "; "))
				}
			}()
			f.r.write("a/b/f a/f c/d/g c/f f g")
			f.r.complete()
			f.look()
			f.r.yield = func(string) {
				if random.IntN(8) == 0 {
					fail := f.r.Fail
					f.r.Fail = nil
					f.look()
					f.r.Fail = fail
				}
			}
			for range 30 {
				if t.Failed() {
					return
				}
				for range random.IntN(4) {
					history = append(history, f.change(random))
				}
				history = append(history, f.pass(random))
				f.look()
			}
			parted += f.parted
		})
	}
	require.Greater(t, parted, 1000)
}
