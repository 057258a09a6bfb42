package limits

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// Which files are fetched: the bounds themselves are.
func TestRefuse(t *testing.T) {
	now := mtree.Unix(1_000_000, 5)
	for _, c := range []struct {
		limits Limits
		size   int64
		age    time.Duration
		want   bool
	}{
		{Limits{}, 0, 0, false},
		{Limits{}, 1 << 62, 1 << 62, false},
		{Limits{MinSize: 10}, 9, 0, true},
		{Limits{MinSize: 10}, 10, 0, false},
		{Limits{MaxSize: 10}, 10, 0, false},
		{Limits{MaxSize: 10}, 11, 0, true},
		{Limits{MaxSize: 10}, 0, 0, false},
		{Limits{MaxAge: time.Hour}, 0, time.Hour, false},
		{Limits{MaxAge: time.Hour}, 0, time.Hour + 1, true},
		{Limits{MaxAge: time.Hour}, 0, -24 * time.Hour, false},
		{Limits{MinSize: 10, MaxSize: 20, MaxAge: time.Hour}, 15, time.Minute, false},
		{Limits{MinSize: 10, MaxSize: 20, MaxAge: time.Hour}, 15, 2 * time.Hour, true},
	} {
		require.Equal(t, c.want, c.limits.Refuse(c.size, now.Add(-c.age), now), "%+v", c)
		require.Equal(t, c.limits == Limits{}, c.limits.None())
	}
	require.True(t, Limits{MaxAge: time.Hour}.Refuse(0, mtree.Unix(-1<<40, 0), now), "an age beyond all durations")
}

// Of a size that is not known exactly, both bounds must be refused.
func TestRefuseSize(t *testing.T) {
	l := Limits{MinSize: 10, MaxSize: 20}
	for _, c := range []struct {
		low, high int64
		want      bool
	}{
		{0, 9, true}, {0, 0, true}, {0, 10, false}, {0, -1, false}, {15, -1, false}, {20, 30, false}, {21, 30, true}, {21, -1, true}, {5, 30, false},
	} {
		require.Equal(t, c.want, l.RefuseSize(c.low, c.high), "%+v", c)
	}
}

func TestCheck(t *testing.T) {
	require.NoError(t, Limits{}.Check())
	require.NoError(t, Limits{MinSize: 5}.Check())
	require.NoError(t, Limits{MinSize: 5, MaxSize: 5}.Check())
	for _, l := range []Limits{{MinSize: 6, MaxSize: 5}, {MinSize: -1}, {MaxSize: -1}, {MaxAge: -1}} {
		require.Error(t, l.Check(), "%+v", l)
	}
}

func TestLines(t *testing.T) {
	for _, l := range []Limits{{}, {MinSize: 1}, {MaxSize: 1 << 40}, {MaxAge: 7 * 24 * time.Hour}, {MinSize: 1, MaxSize: 2, MaxAge: time.Nanosecond}} {
		var again Limits
		for _, line := range l.Lines() {
			require.True(t, again.Add(line), line)
		}
		require.Equal(t, l, again)
	}
	for _, line := range []string{"", "- *.o", "+ max-size 1", "min-size", "min-size x", "max-size -1", "max-size 0", "max-age 7", "max-age -1s", "chmod 7", "7h", "max-size 9223372036854775808"} {
		var l Limits
		require.False(t, l.Add(line), line)
		require.True(t, l.None())
	}
}
