package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Metrics say what the status says, and nothing of what is not known yet.
func TestStatsOfAStatus(t *testing.T) {
	var s Stats
	look := func() (now []string, by map[string]int64) {
		s.States(func(_, _, state string, all []string) {
			require.Contains(t, all, state)
			now = append(now, state)
		})
		by = map[string]int64{}
		s.Each(func(name, _ string, value int64) { by[name] = value })
		return now, by
	}
	now, by := look()
	require.Empty(t, now)
	require.NotContains(t, by, "checkpoint_timestamp_seconds")
	require.NotContains(t, by, "last_audit_timestamp_seconds")
	at, audit := mtree.Unix(1700000000, 1), mtree.Unix(1600000000, 1)
	s.note(&state.Status{State: wire.Degraded, Stamps: 2, Unread: 3, Checkpoint: &at, Audit: &audit})
	now, by = look()
	require.Equal(t, []string{"degraded"}, now)
	require.EqualValues(t, 1700000000, by["checkpoint_timestamp_seconds"])
	require.EqualValues(t, 1600000000, by["last_audit_timestamp_seconds"])
	require.EqualValues(t, 2, by["refusing_directories"])
	require.EqualValues(t, 3, by["unread_directories"])
	s.note(&state.Status{State: wire.Auditing}) // the clock was set back
	_, by = look()
	require.NotContains(t, by, "checkpoint_timestamp_seconds")
}
