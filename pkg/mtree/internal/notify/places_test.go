package notify

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was lost may have been the rename of a directory: no kept path is believed.
func TestALossForgetsPaths(t *testing.T) {
	root, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	source, err := Fanotify(int(root.Fd()), true, make(chan struct{}, 1))
	require.NoError(t, err)
	defer func() { require.NoError(t, source.Close()) }()
	s := source.(*fanotify)
	s.places.paths["handle"] = "where/it/was"
	s.queue.mu.Lock()
	s.queue.lost = "an overflow"
	s.queue.mu.Unlock()
	s.Take()
	require.Empty(t, s.places.paths)
}
