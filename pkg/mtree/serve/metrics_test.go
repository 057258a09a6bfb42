package serve_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Metrics tell what clients see of the tree: also that its watcher is gone, which the watcher cannot.
func TestMetricsOfTheTree(t *testing.T) {
	s := publishWatched(t, serve.Config{MaxWaiters: 7}, map[string]string{"a": "1"})
	look := func() (now string, by map[string]int64) {
		s.h.States(func(name, _, state string, all []string) {
			require.Equal(t, "tree_state", name)
			require.Contains(t, all, state)
			now = state
		})
		by = map[string]int64{}
		s.h.Each(func(name, help string, value int64) {
			require.NotEmpty(t, help)
			by[name] = value
		})
		return now, by
	}
	now, by := look()
	require.Equal(t, "watched", now)
	require.EqualValues(t, 7, by["waiting_max"])
	require.Zero(t, by["root_replaced"])
	require.NotEqualValues(t, 1700000000, by["checkpoint_timestamp_seconds"])
	checkpoint := mtree.Unix(1700000000, 5)
	s.alterStatus(func(st *state.Status) { st.State, st.Checkpoint, st.Unread = wire.Degraded, &checkpoint, 3 })
	require.Eventually(t, func() bool {
		now, by = look()
		return now == "degraded"
	}, 5*time.Second, 10*time.Millisecond)
	require.EqualValues(t, 1700000000, by["checkpoint_timestamp_seconds"])
	require.EqualValues(t, 3, by["unread_directories"])
}
