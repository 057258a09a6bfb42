package metrics

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Free space is told within a second, whatever the file system does, and is nothing where it is not known.
func TestRoom(t *testing.T) {
	count := func(r *room) (n int) {
		r.each(func(_, help string, value float64) {
			require.NotEmpty(t, help)
			require.GreaterOrEqual(t, value, 0.0)
			n++
		})
		return n
	}
	r := &room{path: t.TempDir()}
	require.Positive(t, count(r))
	require.Zero(t, count(&room{path: t.TempDir() + "/missing"}), "a copy that is not made yet")
	hangs := &room{path: t.TempDir(), asking: make(chan struct{}), latest: r.latest, patient: time.Millisecond}
	require.Zero(t, count(hangs), "what was known before is old")
	close(hangs.asking)
	require.NotPanics(t, func() { count(hangs) })
}
