package proof

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is left is what fails, in its order; and all of it where there is no time.
func TestShrink(t *testing.T) {
	all := []int{7, 1, 2, 3, 9, 4, 5, 8, 6}
	fails := func(some []int) bool { return slices.Contains(some, 9) && slices.Contains(some, 8) }
	require.Equal(t, []int{9, 8}, Shrink(all, time.Minute, fails))
	require.Equal(t, all, Shrink(all, 0, fails))
}
