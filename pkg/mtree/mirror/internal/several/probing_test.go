package several

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Several sources that do not answer take longer than the time between two probes. A poll that waits beside that
// has nothing to do meanwhile: it would ask for the time again and again.
func TestNothingIsDueWhileAProbeRuns(t *testing.T) {
	s := &Sources{due: time.Now().Add(-time.Second), probing: make(chan []int)}
	require.Greater(t, s.untilProbe(), longestProbe)
	s.probing = nil
	require.Negative(t, s.untilProbe())
}
