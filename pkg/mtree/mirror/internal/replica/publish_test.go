package replica

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// published is a copy whose passes are published at the time at.
type published struct {
	*faulty
	*Replica
	at mtree.Stamp
}

func newPublished(t *testing.T) *published {
	k, r := simulated(t)
	p := &published{faulty: k, Replica: r, at: mtree.Unix(5_000, 0)}
	r.now = func() mtree.Stamp { return p.at }
	return p
}

// ends is how a pass ends that completed the copy and found nothing.
func ends() *Outcome {
	return &Outcome{
		Complete: true, Entries: 9, Root: mtree.Unix(1_000, 0), Upstreams: "u", SourceState: wire.Watched,
		Deletions: &state.Deletions{Base: 9},
	}
}

// publish publishes the end of a pass, and reports whether it was written.
func (p *published) publish(change func(o *Outcome)) bool {
	p.t.Helper()
	p.at = p.at.Add(1e9)
	p.Made("")
	o := ends()
	change(o)
	require.NoError(p.t, p.Publish(o))
	return p.Made("write status.json") > 0
}

// read returns the status as its readers see it.
func (p *published) read() state.Status {
	p.t.Helper()
	s, err := p.marker.ReadStatus()
	require.NoError(p.t, err)
	require.Equal(p.t, s, p.Status())
	return s
}

func nothing(*Outcome) {}

// What a pass publishes of itself, and of the copy.
func TestWhatAPassPublishes(t *testing.T) {
	p := newPublished(t)
	require.NoError(t, p.SetTree(state.Tree{ID: state.NewTreeID(), Fingerprint: "e"}))
	require.NoError(t, p.UpdateStatus(func(s *state.Status) bool {
		s.Away, s.SourceRun = &p.at, "r"
		return true
	}))
	require.Nil(t, p.read().Root)
	until := mtree.Unix(900, 0)
	require.True(t, p.publish(func(o *Outcome) {
		o.Full, o.Changed, o.Walked, o.Held, o.Failed, o.Incomplete, o.SourceUnread, o.Until = true, true, true, 2, 3, 4, 5, &until
	}))
	root := ends().Root
	require.Equal(t, state.Status{
		State: wire.Mirrored, Checkpoint: &until, Boot: machine.BootID(), PID: os.Getpid(), Updated: &p.at, Root: &root,
		Counters:  map[string]int64{"entries": 9, "walked": 5_001, "held": 2, "failed": 3, "incomplete": 4, "ended": 5_001},
		Upstreams: "u", SourceFingerprint: "e", SourceState: wire.Watched, SourceUnread: 5, SourceRun: "r",
		Deletions: &state.Deletions{Base: 9}, Walked: true,
	}, p.read())

	// One that ended early says why, and no more of the copy than before.
	require.True(t, p.publish(func(o *Outcome) {
		o.Cut = true
		o.Complete, o.Full, o.Cause, o.Root, o.Upstreams, o.Walked = false, true, "cause", mtree.Unix(7, 7), "x", false
	}))
	s := p.read()
	require.Equal(t, "cause", s.Error)
	require.Equal(t, root, *s.Root)
	require.Equal(t, "u", s.Upstreams)
	require.True(t, s.Walked)
	require.Equal(t, Counters{Entries: 9, Walked: 5_001, Ended: 5_001}, CountersOf(&s))
	require.True(t, p.publish(nothing))
	require.Empty(t, p.read().Error)
	require.Equal(t, until, *p.read().Checkpoint, "the latest that is known")
	require.False(t, p.read().Walked)
	require.Equal(t, CountersOf(ptr(p.read())), p.Counters())
}

// How much the copy has is what was counted in it, or else what its source has anew, unless it leaves out some
// of that.
func TestHowMuchACopyHas(t *testing.T) {
	of := func(files int64) wire.Entries { return wire.Entries{Files: files, Directories: 1} }
	has := func(e wire.Entries) *state.Entries { return &state.Entries{Entries: e} }
	for name, c := range map[string]struct {
		source  *wire.Entries // as it was
		was     *state.Entries
		now     wire.Entries
		selects bool
		counted *state.Entries
		want    *state.Entries
	}{
		"a new copy":                  {now: of(5), want: has(of(5))},
		"one that leaves out some":    {now: of(5), selects: true, want: has(of(5))},
		"the source counted again":    {source: ptr(of(5)), was: has(of(4)), now: of(6), want: has(of(6))},
		"the first count":             {was: has(of(4)), now: of(6), want: has(of(6))},
		"it counted the same":         {source: ptr(of(5)), was: has(of(4)), now: of(5), want: has(of(4))},
		"it counted what is left out": {source: ptr(of(5)), was: has(of(4)), now: of(6), selects: true, want: has(of(4))},
		"nothing is known yet":        {source: ptr(of(5)), now: of(5), want: has(of(5))},
		"the pass counted":            {source: ptr(of(5)), was: has(of(4)), now: of(6), counted: has(of(7)), want: has(of(7))},
		"the source counts no more":   {source: ptr(of(5)), was: has(of(4)), want: has(of(4))},
	} {
		p := newPublished(t)
		require.NoError(t, p.UpdateStatus(func(s *state.Status) bool {
			s.SourceEntries, s.Entries = c.source, c.was
			return true
		}))
		require.True(t, p.publish(func(o *Outcome) { o.SourceEntries, o.Selects, o.Counted = c.now, c.selects, c.counted }), name)
		s := p.read()
		require.Equal(t, c.want, s.Entries, name)
		if c.now == (wire.Entries{}) {
			require.Nil(t, s.SourceEntries, name)
		} else {
			require.Equal(t, c.now, *s.SourceEntries, name)
		}
	}
}

// Two counts are the same if they say the same, or neither is known.
func TestSameEntries(t *testing.T) {
	one := wire.Entries{Files: 1}
	require.True(t, sameEntries(nil, nil))
	require.True(t, sameEntries(&one, &wire.Entries{Files: 1}))
	require.False(t, sameEntries(&one, &wire.Entries{}))
	require.False(t, sameEntries(&one, nil))
	require.False(t, sameEntries(nil, &one))
}

// What a pass tells of itself while it runs is over when it ends, and when its mirror was killed.
func TestAPassIsTold(t *testing.T) {
	p := newPublished(t)
	running := func(s *state.Status) bool {
		s.Pass = &state.Pass{Permill: 437}
		return true
	}
	require.True(t, p.publish(nothing))
	require.NoError(t, p.UpdateStatus(running))
	filled := wire.Entries{Files: 3}
	require.True(t, p.publish(func(o *Outcome) { o.Filled = &filled }), "the pass is over")
	require.Nil(t, p.read().Pass)
	require.Equal(t, &filled, p.read().Filled)
	require.False(t, p.publish(nothing))
	require.NoError(t, p.UpdateStatus(running))
	p.Close()
	for _, writes := range []int{1, 0} {
		p.Made("")
		r, err := Open(p.options())
		require.NoError(t, err)
		require.Equal(t, writes, p.Made("write status.json"))
		require.Nil(t, r.Status().Pass)
		s, err := r.marker.ReadStatus()
		require.NoError(t, err)
		require.Nil(t, s.Pass)
		r.Close()
	}
}

// When a full walk counts as done: one that nothing ended early, and the first time that
// the copy is complete.
func TestWhenACopyWasWalked(t *testing.T) {
	for _, c := range []struct {
		was            int64
		full, complete bool
		cause          string
		cut            bool
		is             int64
	}{
		{full: true, complete: true, is: 5_001},
		{full: true, is: 5_001},
		{full: true, cause: "x", cut: true},
		{complete: true, is: 5_001},
		{complete: true, cause: "x", cut: true},
		{},
		{was: 7, is: 7},
		{was: 7, complete: true, is: 7},
		{was: 7, full: true, is: 5_001},
		{was: 7, full: true, cause: "x", cut: true, is: 7},
		// What waits for room, or for a clock, ends no walk: it was due again at once, for weeks.
		{was: 7, full: true, cause: "no space left on device", is: 5_001},
	} {
		p := newPublished(t)
		require.NoError(t, p.UpdateStatus(func(s *state.Status) bool { s.Counters = Counters{Walked: c.was}.fields(); return true }))
		p.publish(func(o *Outcome) {
			o.Full, o.Complete, o.Cause, o.Cut, o.Begun = c.full, c.complete, c.cause, c.cut, true
		})
		require.Equal(t, c.is, p.Counters().Walked, "%+v", c)
	}
}

// A pass that found nothing new writes nothing; whatever is new is written.
func TestWhatIsWorthWriting(t *testing.T) {
	for name, change := range map[string]func(o *Outcome){
		"the root":             func(o *Outcome) { o.Root = mtree.Unix(1_001, 0) },
		"walked":               func(o *Outcome) { o.Walked = true },
		"a cause":              func(o *Outcome) { o.Cause = "x" },
		"the source's state":   func(o *Outcome) { o.SourceState = wire.Stale },
		"what it cannot read":  func(o *Outcome) { o.SourceUnread = 1 },
		"entries":              func(o *Outcome) { o.Entries = 10 },
		"held":                 func(o *Outcome) { o.Held = 1 },
		"failed":               func(o *Outcome) { o.Failed = 1 },
		"incomplete":           func(o *Outcome) { o.Incomplete = 1 },
		"a change":             func(o *Outcome) { o.Changed = true },
		"a full walk":          func(o *Outcome) { o.Full = true },
		"the base":             func(o *Outcome) { o.Deletions.Base = 8 },
		"a hold":               func(o *Outcome) { o.Deletions.Shut = true },
		"a count in doubt":     func(o *Outcome) { o.Deletions.Unsure = true },
		"it began":             func(o *Outcome) { o.Begun = true },
		"the source has":       func(o *Outcome) { o.SourceEntries.Directories = 1 },
		"deletions, long past": nil,
		"it is no more":        nil,
	} {
		p := newPublished(t)
		require.True(t, p.publish(nothing), name)
		require.False(t, p.publish(nothing), name)
		switch {
		case name == "it is no more":
			require.False(t, p.publish(func(o *Outcome) { o.Complete = false }), "what a pass found incomplete is counted")
		case change == nil:
			require.False(t, p.publish(func(o *Outcome) { o.Deletions.Recent = [][2]int64{{1, 1}} }), name)
		default:
			require.True(t, p.publish(change), name)
		}
	}
	for name, change := range map[string]func(s *state.Status){
		"the source's run":         func(s *state.Status) { s.SourceRun = "r" },
		"its highest stamp":        func(s *state.Status) { s.SourceTop = ptr(mtree.Unix(5, 0)) },
		"its latest sure stamp":    func(s *state.Status) { s.SourceSure = ptr(mtree.Unix(5, 0)) },
		"its latest whole root":    func(s *state.Status) { s.SourceWhole = ptr(mtree.Unix(5, 0)) },
		"its fingerprint":          func(s *state.Status) { s.SourceFingerprint = "e" },
		"that it is away":          func(s *state.Status) { s.Away = ptr(mtree.Unix(5, 0)) },
		"another state":            func(s *state.Status) { s.State = wire.Filling },
		"no root":                  func(s *state.Status) { s.Root = nil },
		"what the source has":      func(s *state.Status) { s.SourceEntries = &wire.Entries{Files: 1} },
		"no counters":              func(s *state.Status) { s.Counters = nil },
		"nothing of the deletions": func(s *state.Status) { s.Deletions = nil },
	} {
		a := state.Status{State: wire.Mirrored, Root: ptr(mtree.Unix(1, 0)), Counters: Counters{}.fields(), Deletions: &state.Deletions{}}
		b := a
		b.Root = ptr(*a.Root)
		require.True(t, sameStatus(&a, &b), name)
		change(&a)
		require.False(t, sameStatus(&a, &b), name)
		if a.Deletions != nil && a.Counters != nil {
			require.False(t, sameStatus(&b, &a), name)
			both := a
			require.True(t, sameStatus(&a, &both), name)
		}
	}
}

// Where every pass is a full walk, only the end of the first is worth writing.
func TestTheEndOfAWalk(t *testing.T) {
	p := newPublished(t)
	walked := func(o *Outcome) { o.Full, o.Walked = true, true }
	require.True(t, p.publish(walked))
	require.False(t, p.publish(walked))
	require.True(t, p.publish(func(o *Outcome) { o.Full = true }))
	require.True(t, p.publish(func(o *Outcome) { o.Full = true }), "the next one is due later")

	p = newPublished(t)
	early := func(o *Outcome) { o.Complete, o.Full, o.Cut, o.Cause = false, true, true, "x" }
	require.True(t, p.publish(early))
	require.False(t, p.publish(early), "it ends early again and again")
	require.True(t, p.publish(func(o *Outcome) { o.Complete, o.Full = false, true }))

	never, now := Counters{}.fields(), Counters{Walked: 5}.fields()
	of := func(counters map[string]int64) *state.Status {
		return &state.Status{Walked: true, Counters: counters, Deletions: &state.Deletions{}}
	}
	require.False(t, sameStatus(of(never), of(now)))
	require.True(t, sameStatus(of(now), of(Counters{Walked: 6}.fields())))
	require.True(t, sameStatus(of(never), of(never)))
}

// Directories that the source does not give are counted, and so is a disk without symlinks.
func TestWhatElseIsCounted(t *testing.T) {
	p := newPublished(t)
	require.True(t, p.publish(nothing))
	p.unread.deny("a", 5)
	require.True(t, p.publish(nothing))
	require.Equal(t, 1, p.read().Unread)
	require.EqualValues(t, 1, p.read().Exceptions)
	require.False(t, p.publish(nothing))
	p.NoLinks = true
	require.True(t, p.publish(nothing))
	require.True(t, p.Counters().NoLinks)
	require.EqualValues(t, 1, p.read().Counters["linkless"])
	require.False(t, p.publish(nothing))
	p.NoLinks = false
	require.True(t, p.publish(nothing))
	require.NotContains(t, p.read().Counters, "linkless")
}

// After a power cut within half a minute, nobody knew of the deletions before it, and the next ones were
// within --max-delete again.
func TestDeletionsAreCountedDurably(t *testing.T) {
	p := newPublished(t)
	for _, durable := range []bool{false, true} {
		o := ends()
		o.Begun, o.Durable = true, durable
		require.NoError(t, p.Publish(o))
		require.Equal(t, durable, p.Made("fsync status.json") == 1)
	}
	o := ends()
	o.Begun, o.Durable = true, true
	p.Refuse("write status.json", unix.ENOSPC, 1)
	require.ErrorIs(t, p.Publish(o), unix.ENOSPC)
	require.Zero(t, p.Made("fsync status.json"))
}
