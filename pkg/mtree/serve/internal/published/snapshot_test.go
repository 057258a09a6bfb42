package published

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
)

// While somebody reads the tree's state anew, others get the last snapshot, but never one
// that is old because nobody asked for seconds: a long poll that ended just when the state
// was looked at told an epoch that was over.
func TestSnapshotsAreRecent(t *testing.T) {
	tree, err := Open(Config{Root: t.TempDir(), Exclude: &glob.List{}, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	defer tree.Close()
	aged := func(age time.Duration) *Snapshot {
		s := *tree.latest.Load()
		s.taken = time.Now().Add(-age)
		tree.latest.Store(&s)
		return &s
	}
	tree.mu.Lock() // somebody reads
	s := aged(snapshotAge * 3 / 2)
	require.Same(t, s, tree.Now())
	old := aged(time.Minute)
	told := make(chan *Snapshot, 1)
	go func() { told <- tree.Now() }()
	select {
	case <-told:
		require.Fail(t, "a minute old")
	case <-time.After(50 * time.Millisecond):
	}
	fresh := aged(0)
	tree.mu.Unlock()
	require.Same(t, fresh, <-told)
	require.NotSame(t, old, fresh)
}
