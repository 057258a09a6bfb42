package gate

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

func limit(t *testing.T, text string) Limit {
	l, err := ParseLimit(text)
	require.NoError(t, err)
	require.Equal(t, text, l.String())
	return l
}

func TestLimit(t *testing.T) {
	for _, tc := range []struct {
		limit      string
		n, entries int64
		exceeded   bool
	}{
		{"5", 5, 10, false}, {"5", 6, 1_000_000, true}, {"0", 1, 0, true},
		{"50%", 100, 100, false}, // few
		{"50%", 101, 200, true}, {"50%", 100, 200, false}, {"50%", 101, 0, true},
		{"100%", 1_000, 10, false},
	} {
		require.Equal(t, tc.exceeded, limit(t, tc.limit).exceeded(tc.n, tc.entries), "%+v", tc)
	}
	require.True(t, limit(t, "200").exceeded(201, 1000), "a number may be more than 100")
	for _, bad := range []string{"", "x", "-1", "101%", "%", "1.5%"} {
		_, err := ParseLimit(bad)
		require.Error(t, err, bad)
	}
}

// copyOf opens a new copy whose status counts that many entries, with a clock that a
// test can move.
func copyOf(t *testing.T, entries int64, now *mtree.Stamp) *replica.Replica {
	r, err := replica.Open(&replica.Options{Path: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: func() mtree.Stamp { return *now }})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	require.NoError(t, r.UpdateStatus(func(s *state.Status) bool {
		s.Counters = map[string]int64{"entries": entries}
		s.Deletions = &state.Deletions{Base: entries}
		return true
	}))
	return r
}

// Deletions of ten minutes count together, also over passes; then they are forgotten.
func TestDeletionsCountTogether(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	g := New(r, limit(t, "50%"))
	require.Empty(t, g.Refuse(300, 0, false))
	g.Begin()
	require.True(t, r.Status().Deletions.Unsure, "a pass is under way")
	g.Deleted(300)
	require.Equal(t, [][2]int64{{1_000_000_000 / 60, 300}}, r.Status().Deletions.Recent)

	now = now.Add(5 * time.Minute)
	require.Contains(t, New(r, limit(t, "50%")).Refuse(300, 0, false), "300 of 1000 entries would go, 300 went in the last ten minutes")
	require.Empty(t, New(r, limit(t, "70%")).Refuse(300, 0, false))
	now = now.Add(6 * time.Minute)
	require.Empty(t, New(r, limit(t, "50%")).Refuse(300, 0, false))
}

// A hold stays as long as its reason, and a release ends it.
func TestAHoldStays(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	hold := func(g *Gate) {
		o := &replica.Outcome{}
		g.End(o)
		r.StoreDeletions(o.Deletions)
	}
	g := New(r, limit(t, "50%"))
	g.Deleted(300)
	require.NotEmpty(t, g.Refuse(300, 0, false))
	hold(g)
	now = now.Add(time.Hour)
	g = New(r, limit(t, "50%"))
	require.NotEmpty(t, g.Refuse(300, 0, false), "time is no reason")
	hold(g)
	g = New(r, limit(t, "50%"))
	require.Empty(t, g.Refuse(300, 0, true), "a part of it was released")
	hold(g)
	require.False(t, r.Status().Deletions.Shut)
}

// A hold began to count what had been deleted more than ten minutes before it, because nothing
// had been deleted since: it stayed, though the source had enough of the entries again.
func TestAHoldCountsNothingOld(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	g := New(copyOf(t, 1000, &now), limit(t, "10"))
	g.Deleted(9)
	now = now.Add(20 * time.Minute)
	for range 2 {
		require.Equal(t, "12 of 1000 entries would go, --max-delete is 10", g.Refuse(12, 0, false))
	}
	require.Empty(t, g.Refuse(8, 0, false))
}

// Where the status is lost, the list of held deletions says that there was a hold.
func TestAHoldIsRecalled(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	r.StoreDeletions(nil)
	g := New(r, limit(t, "50%"))
	g.Recall(&replica.HeldList{Entries: []replica.Deletion{{Path: "a", Entries: 400}, {Path: "b", Entries: 9, Why: replica.WhyTree}}})
	require.True(t, g.now.Shut)
	require.Contains(t, g.Refuse(400, 0, false), "400 of 400 entries would go")
	g = New(r, limit(t, "50%"))
	g.FoundRecord()
	o := &replica.Outcome{Complete: true}
	g.End(o)
	require.False(t, o.Deletions.Unsure, "the copy was counted")
	require.Zero(t, o.Entries, "and is empty, whatever the status says")
}

// Deletions count together if they lie within ten minutes of each other, on either side: the
// clock may have been set back a little. Not those of a clock that was far ahead.
func TestWhichDeletionsAreRecent(t *testing.T) {
	for minute, want := range map[int64]bool{89: false, 90: true, 100: true, 110: true, 111: false} {
		require.Equal(t, want, isRecent(minute, 100), "%d", minute)
	}
}

// Deletions of one minute are one number; those that are no longer recent are forgotten,
// but not during a hold: they are why it holds.
func TestWhatIsRemembered(t *testing.T) {
	now := mtree.Unix(1_000_000_020, 0)
	minute := minuteOf(now)
	require.Equal(t, int64(1_000_000_020/60), minute)
	r := copyOf(t, 1000, &now)
	g := New(r, limit(t, "50%"))
	g.note(3, now)
	g.note(4, now)
	require.Equal(t, [][2]int64{{minute, 7}}, g.now.Recent)
	later := now.Add(5 * time.Minute)
	g.note(1, later)
	require.Equal(t, [][2]int64{{minute, 7}, {minute + 5, 1}}, g.now.Recent)
	require.EqualValues(t, 8, g.recent(later))
	require.EqualValues(t, 1, g.recent(later.Add(6*time.Minute)))
	g.now.Shut = true
	require.EqualValues(t, 8, g.recent(later.Add(6*time.Minute)))
	g.note(1, later.Add(6*time.Minute))
	require.Len(t, g.now.Recent, 3)
	g.now.Shut = false
	g.note(1, later.Add(6*time.Minute))
	require.Equal(t, [][2]int64{{minute + 5, 1}, {minute + 11, 2}}, g.now.Recent)
}

// A refusal keeps its base and the recent deletions until it ends; what ends it is that
// nothing is to be deleted any more, that the limit allows it, or a release.
func TestRefusal(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	refused := func() *Gate {
		g := New(r, limit(t, "50%"))
		require.Equal(t, "501 of 1000 entries would go, --max-delete is 50%", g.Refuse(501, 0, false))
		require.True(t, g.now.Shut)
		require.EqualValues(t, 1000, g.now.Base)
		return g
	}
	g := refused()
	require.Empty(t, g.Refuse(0, 0, false))
	require.False(t, g.now.Shut)
	g = refused()
	require.Empty(t, g.Refuse(500, 0, false), "not more than half")
	require.False(t, g.now.Shut)
	g = refused()
	g.now.Recent = [][2]int64{{minuteOf(now), 100}}
	require.Equal(t, "450 of 1000 entries would go, 100 went in the last ten minutes, --max-delete is 50%", g.Refuse(450, 0, false))
	require.Empty(t, g.Refuse(450, 0, true), "a release also settles what went before")
	require.Empty(t, g.now.Recent)
	g = New(r, limit(t, "50%"))
	g.now.Recent = [][2]int64{{minuteOf(now), 100}}
	require.NotEmpty(t, g.Refuse(450, 0, true), "a release where nothing was held settles nothing")
	g = New(r, limit(t, "50%"))
	g.now.Recent = [][2]int64{{minuteOf(now), 600}}
	require.Empty(t, g.Refuse(0, 0, false), "what went before holds nothing by itself")
	require.False(t, g.now.Shut)
}

// The base is what the copy had at the last full walk, or ten minutes ago if that is less.
// It is counted where it is not known, and stays during a hold and after a kill.
func TestBase(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 700, &now)
	for _, c := range []struct {
		name         string
		now          state.Deletions
		recent, made int64
		want         int64
	}{
		{"as at the full walk", state.Deletions{Base: 500}, 0, 0, 500},
		{"it shrank since", state.Deletions{Base: 1000}, 0, 0, 700},
		{"what went lately was there", state.Deletions{Base: 1000}, 50, 0, 750},
		{"during a hold", state.Deletions{Base: 1000, Shut: true}, 50, 0, 1000},
		{"after a kill", state.Deletions{Base: 1000, Unsure: true}, 50, 0, 1000},
		{"never counted: the copy is empty", state.Deletions{}, 50, 0, 0},
		{"what was made now does not count", state.Deletions{}, 0, 3, -3},
	} {
		g := New(r, limit(t, "50%"))
		g.now = c.now
		require.Equal(t, c.want, g.base(c.recent, c.made), c.name)
	}
}

// Only a full walk that was complete and may delete sets the base once it is set, and
// only a count of all ends the doubt about it.
func TestEnd(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 700, &now)
	for _, c := range []struct {
		name    string
		now     state.Deletions
		outcome replica.Outcome
		base    int64
		unsure  bool
		entries int64
	}{
		{"a pass that prunes", state.Deletions{Base: 900}, replica.Outcome{Complete: true, Made: 10, Deleted: 3}, 900, false, 707},
		{"a full walk", state.Deletions{Base: 900, Unsure: true}, replica.Outcome{Complete: true, Full: true, Seen: 800, Made: 10, Deleted: 3}, 807, false, 807},
		{"one that may not delete", state.Deletions{Base: 900}, replica.Outcome{Complete: true, Full: true, Seen: 800, NoDelete: true}, 900, false, 800},
		{"one that is not complete", state.Deletions{Base: 900, Unsure: true}, replica.Outcome{Full: true, Seen: 800}, 900, true, 700},
		{"the first count", state.Deletions{}, replica.Outcome{Complete: true, Made: 5}, 705, false, 705},
		{"with recent deletions", state.Deletions{Recent: [][2]int64{{minuteOf(now), 40}}}, replica.Outcome{Complete: true}, 740, false, 700},
		{"after a kill the copy is counted: it is empty", state.Deletions{Base: 900, Unsure: true}, replica.Outcome{Complete: true}, 900, false, 0},
		{"never less than nothing", state.Deletions{Base: 900}, replica.Outcome{Deleted: 800}, 900, false, 0},
	} {
		g := New(r, limit(t, "50%"))
		g.now = c.now
		o := c.outcome
		g.End(&o)
		require.Equal(t, c.base, o.Deletions.Base, c.name)
		require.Equal(t, c.unsure, o.Deletions.Unsure, c.name)
		require.Equal(t, c.entries, o.Entries, c.name)
		require.False(t, o.Begun, c.name)
	}
	g := New(r, limit(t, "50%"))
	g.Begin()
	o := replica.Outcome{}
	g.End(&o)
	require.True(t, o.Begun)
}

// What a pass has deleted is written down while it goes on, released deletions (0) aside: a
// kill must not reset the count. What is written says that a pass is under way.
func TestDeletedIsWrittenDown(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	g := New(r, limit(t, "50%"))
	g.Deleted(0)
	require.Empty(t, r.Status().Deletions.Recent)
	require.False(t, r.Status().Deletions.Unsure)
	g.Deleted(7)
	require.Equal(t, [][2]int64{{minuteOf(now), 7}}, r.Status().Deletions.Recent)
	require.True(t, r.Status().Deletions.Unsure)
	require.False(t, g.now.Unsure, "the pass itself is sure")
}

// What is written down at the beginning is what was known before the pass, whatever it
// has done since. The second Begin does nothing.
func TestBeginWritesWhatWasBefore(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	g := New(r, limit(t, "50%"))
	g.note(5, now)
	g.Begin()
	require.Equal(t, &state.Deletions{Base: 1000, Unsure: true}, r.Status().Deletions)
	g.Deleted(1)
	g.Begin()
	require.NotEmpty(t, r.Status().Deletions.Recent)
}

// Where the status is there, the list of held deletions restores nothing: it may be of a
// hold that has ended.
func TestRecallNeedsALoss(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	g := New(copyOf(t, 1000, &now), limit(t, "50%"))
	g.Recall(&replica.HeldList{Entries: []replica.Deletion{{Path: "a", Entries: 400}}})
	require.False(t, g.now.Shut)
	require.EqualValues(t, 1000, g.now.Base)
}

// A pass that was killed leaves a doubt about the count, which the next one keeps until the
// copy is counted, whether its root has a record or not.
func TestTheDoubtOfAKillStays(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	g := New(copyOf(t, 1000, &now), limit(t, "50%"))
	g.FoundRecord()
	require.False(t, g.now.Unsure, "this copy was counted")
	g.now.Unsure = true
	g.FoundRecord()
	require.True(t, g.now.Unsure)
}

// What a pass counts is not in what is written down as known before it.
func TestBeginSharesNothing(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	before := state.Deletions{Base: 1000, Recent: [][2]int64{{minuteOf(now), 3}}}
	r.StoreDeletions(&before)
	g := New(r, limit(t, "50%"))
	g.note(5, now)
	g.Begin()
	require.Equal(t, [][2]int64{{minuteOf(now), 3}}, r.Status().Deletions.Recent)
}

// A hold is written down as it is now; where there is none, nothing is.
func TestAHoldIsKept(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	for _, c := range []struct{ shut, begun, doubt, unsure bool }{
		{shut: true}, {}, {shut: true, begun: true, unsure: true}, {shut: true, doubt: true, unsure: true},
	} {
		r := copyOf(t, 1000, &now)
		r.StoreDeletions(&state.Deletions{Base: 1000})
		g := New(r, limit(t, "50%"))
		r.StoreDeletions(&state.Deletions{Base: 7})
		g.now.Shut, g.now.Unsure = c.shut, c.doubt
		g.begun.Store(c.begun)
		require.NoError(t, g.Keep())
		want := state.Deletions{Base: 7}
		if c.shut {
			want = state.Deletions{Base: 1000, Shut: true, Unsure: c.unsure}
		}
		require.Equal(t, want, *r.Status().Deletions)
	}
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/copy", 0o755))
	r, err := replica.Open(&replica.Options{Path: "/copy", Log: slog.New(slog.DiscardHandler), Now: func() mtree.Stamp { return now }})
	require.NoError(t, err)
	defer r.Close()
	g := New(r, limit(t, "50%"))
	g.now.Shut = true
	k.Refuse("fsync status.json", unix.EIO, 1)
	require.ErrorIs(t, g.Keep(), unix.EIO)
}
