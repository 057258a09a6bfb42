package proof

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// On a busy machine ten of 270 seeds of TestSimulatedClock had two runs that differed, and the
// test called watch "not deterministic".
func TestMostAgree(t *testing.T) {
	runs := func(results ...int) func() int {
		return func() int {
			is := results[0]
			results = results[1:]
			return is
		}
	}
	require.True(t, MostAgree(1, 2, runs(1, 1, 1)))
	require.True(t, MostAgree(1, 2, runs(2, 2, 2)))
	require.True(t, MostAgree(1, 2, runs(1, 2, 1, 1, 1, 1, 2, 1)))
	require.False(t, MostAgree(1, 2, runs(1, 2, 1, 1, 1, 2, 2, 1)))
	require.False(t, MostAgree(1, 2, runs(3, 4, 5, 6, 7, 8, 9, 10)))
}
