//go:build filesystems

package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A file system that keeps no modes made each pass begin another one.
func TestModesThatAreNotKept(t *testing.T) {
	s, b := overHTTP(t, "a/f = one")
	s.link("a/f", "b/g")
	b.config.HardLinks = true
	b.config.Dest = folding(t)
	for range 6 {
		err := b.once()
		_ = err
	}
	require.NoError(t, b.once())
	b.idle()
}
