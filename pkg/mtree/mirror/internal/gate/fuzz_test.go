package gate

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A limit is read as it is written. It never allows more than it says, and more deletions
// never come through where fewer do not.
func FuzzLimit(f *testing.F) {
	f.Add("50%", int64(60), int64(120))
	f.Add("0", int64(1), int64(0))
	f.Add("9223372036854775807", int64(1<<62), int64(1<<62))
	f.Add("100%", int64(5), int64(5))
	f.Fuzz(func(t *testing.T, text string, n, entries int64) {
		l, err := ParseLimit(text)
		if err != nil {
			return
		}
		again, err := ParseLimit(l.String())
		require.NoError(t, err)
		require.Equal(t, l, again)
		const most = 1 << 50 // entries of any tree
		if n, entries = n&(most-1), entries&(most-1); l.exceeded(n, entries) {
			require.True(t, l.exceeded(n+1, entries))
			require.False(t, l.share && l.percent == 100)
		} else if !l.share {
			require.LessOrEqual(t, n, l.number)
		}
	})
}
