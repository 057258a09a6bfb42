package gate

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
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

// Where the status is lost, the list of held deletions says that there was a hold.
func TestAHoldIsRecalled(t *testing.T) {
	now := mtree.Unix(1_000_000_000, 0)
	r := copyOf(t, 1000, &now)
	r.StoreDeletions(nil)
	g := New(r, limit(t, "50%"))
	g.Recall(&replica.HeldList{Entries: []replica.Deletion{{Path: "a", Entries: 400}, {Path: "b", Entries: 9, Why: replica.WhyTree}}})
	require.Contains(t, g.Refuse(400, 0, false), "400 of 400 entries would go")
	g = New(r, limit(t, "50%"))
	g.FoundRecord()
	o := &replica.Outcome{Complete: true}
	g.End(o)
	require.False(t, o.Deletions.Unsure, "the copy was counted")
}
