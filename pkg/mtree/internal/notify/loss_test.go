package notify

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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

// The goroutine that reads the kernel's queue ended without a word when it could not wait for
// it: nothing was heard any more, and the tree stayed "watched".
func TestDeafReaderIsALoss(t *testing.T) {
	wake := make(chan struct{}, 1)
	s, err := Inotify(wake)
	require.NoError(t, err)
	q := &s.(*inotify).queue
	require.NoError(t, q.alarm.Close())
	select {
	case <-wake:
	case <-time.After(30 * time.Second):
		t.Fatal("not a word")
	}
	require.Contains(t, s.Take().Lost, "waiting for events")
	_ = s.Close()
}
