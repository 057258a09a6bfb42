package notify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The lost event may have been the rename of a directory: after a loss no kept path is used.
func TestALossForgetsPaths(t *testing.T) {
	w := newDeepWorld(t, "beside", 1)
	in := func(path string) string { return filepath.Join(w.base, "tree", path) }
	require.NoError(t, os.WriteFile(in("d/f"), nil, 0o644))
	w.hears("d", "f")

	q := &w.source.queue
	q.mu.Lock()
	require.NoError(t, os.Rename(in("d"), in("renamed")))
	for q.read() > 0 {
	}
	q.buf, q.lost = q.buf[:0], "an overflow" // with the events of the rename
	q.mu.Unlock()
	require.Equal(t, "an overflow", w.source.Take().Lost)
	require.NoError(t, os.WriteFile(in("renamed/f"), nil, 0o644))
	w.hears("renamed", "f")
}
