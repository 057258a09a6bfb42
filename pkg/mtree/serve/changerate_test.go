package serve

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/published"
)

// SetFindBounds sets the bounds of searches, the time in seconds.
func (h *Handler) SetFindBounds(found, read, pending, seconds int) {
	h.findMost = findBounds{found, read, pending, time.Duration(seconds) * time.Second}
}

// What the watcher counts becomes changes of each minute, also across its restarts.
func TestChangeRate(t *testing.T) {
	c := newChangeRate()
	note := func(minute int64, pid int, total int64) {
		s := &published.Snapshot{Published: state.Published{Status: state.Status{PID: pid}}}
		if total >= 0 {
			s.Status.Counters = map[string]int64{changesCounter: total}
		}
		c.note(time.Unix(minute*60, 0), s)
	}
	known := func(minute int64) (out []float64) {
		for _, v := range c.hour.Values(time.Unix(minute*60, 0)) {
			if !math.IsNaN(v) {
				out = append(out, v)
			}
		}
		return out
	}
	note(1000, 1, -1)
	require.Empty(t, known(1000), "the tree has no watcher")
	note(1001, 1, 100)
	require.Empty(t, known(1001), "what was before is not of this minute")
	note(1002, 1, 130)
	note(1003, 1, 130)
	note(1004, 2, 7)
	note(1004, 2, 9)
	note(1005, 2, 3)
	require.Equal(t, []float64{30, 0, 9, 3}, known(1005))
}
