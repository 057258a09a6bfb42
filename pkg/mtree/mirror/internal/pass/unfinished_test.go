package pass

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/work"
)

// Of too many directories that are left incomplete none is remembered: all count, until the copy is
// complete.
func TestTooManyUnfinished(t *testing.T) {
	left := make([]*node, mostUnfinished)
	for i := range left {
		left[i] = &node{Target: work.Target{Path: "a"}}
	}
	var u unfinished
	u.note(false, left)
	require.True(t, u.has("a") && u.has(""))
	require.False(t, u.has("b"))
	for range 2 {
		u.note(false, left)
		require.Equal(t, unfinished{many: true}, u)
		require.True(t, u.has("b"))
	}
	u.note(false, left[:1])
	require.Equal(t, unfinished{many: true}, u)
	u.note(true, nil)
	require.False(t, u.has("a"))
}
