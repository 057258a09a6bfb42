package machine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Each step of the clock is heard. This one is a millionth of a second forward, which
// disturbs nobody. The test needs CAP_SYS_TIME.
func TestClockSteps(t *testing.T) {
	steps, err := NewClockSteps()
	require.NoError(t, err)
	for range 3 {
		step := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Usec: 1000}}
		_, err = unix.ClockAdjtime(unix.CLOCK_REALTIME, &step)
		require.NoError(t, err)
		select {
		case <-steps.C:
		case <-time.After(10 * time.Second):
			t.Fatal("the clock was set, unheard")
		}
	}
	require.NoError(t, steps.Close())
}
