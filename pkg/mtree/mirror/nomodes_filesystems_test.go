//go:build filesystems

package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// DEST keeps no modes, and the names of a file looked as if their modes differed: each pass made one of them anew, and
// the next the other.
func TestModesThatAreNotKept(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	b.config.Dest = folding(t)
	for range 6 {
		_ = b.once()
	}
	require.NoError(t, b.once())
	b.idle()
}
