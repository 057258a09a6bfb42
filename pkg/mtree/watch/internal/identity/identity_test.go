package identity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// A clock that moved by less than the time that has passed was set back. Some seconds do
// not count, and after a boot nothing is known.
func TestClockWasSetBack(t *testing.T) {
	updated := mtree.Unix(1_000_000, 0)
	status := state.Status{Updated: &updated, Up: time.Hour, Boot: machine.BootID()}
	setBack := func(s state.Status, by time.Duration) bool {
		id := Identity{Status: s}
		return id.clockSetBack(updated.Add(time.Hour-by), s.Up+time.Hour)
	}
	require.False(t, setBack(status, 0))
	require.False(t, setBack(status, 3600*time.Millisecond), "a part in a thousand: slowed down")
	require.False(t, setBack(status, 5*time.Second))
	require.True(t, setBack(status, 10*time.Second))
	require.True(t, setBack(status, 24*time.Hour))

	status.Boot = "another"
	require.False(t, setBack(status, 24*time.Hour), "after a boot nothing is known")
}
