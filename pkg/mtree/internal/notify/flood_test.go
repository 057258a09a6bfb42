package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Beyond the first bound only the directory of a changed file is kept, while directories
// that come are still named. Beyond the second bound there is a loss.
func TestFlood(t *testing.T) {
	for _, name := range []string{"inotify", "fanotify"} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		root, err := os.Open(dir)
		require.NoError(t, err)
		defer root.Close()
		sub, err := os.Open(filepath.Join(dir, "d"))
		require.NoError(t, err)
		defer sub.Close()
		wake := make(chan struct{}, 1)
		source, queue := openBounded(t, name, root, wake)
		ref, _, err := source.Arm(Ref{}, -1, "", int(root.Fd()))
		require.NoError(t, err)
		_, _, err = source.Arm(ref, int(root.Fd()), "d", int(sub.Fd()))
		require.NoError(t, err)

		for i := range 300 {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "d", fmt.Sprint(i)), nil, 0o644))
		}
		require.NoError(t, os.Mkdir(filepath.Join(dir, "d", "new"), 0o755))
		settled(t, queue)
		dirty, arrived := false, false
		require.Eventually(t, func() bool { // what was read last may not be in it yet
			events := source.Take()
			require.Empty(t, events.Lost, name)
			for _, d := range events.Dirs {
				dirty = dirty || d.Dirty && d.Path == "d"
				for _, e := range d.Entries {
					arrived = arrived || e.Arrived && e.Name == "new"
				}
			}
			return dirty && arrived
		}, 10*time.Second, time.Millisecond, name)

		queue.mu.Lock()
		queue.hard = 8192 // not before: others use this disk, too
		queue.mu.Unlock()
		for i := range 300 {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "d", fmt.Sprint("dir", i)), 0o755))
		}
		require.Eventually(t, func() bool { return source.Take().Lost != "" || more(t, dir) }, 10*time.Second, time.Millisecond, name)
		require.NoError(t, source.Close())
	}
}

// more makes a few hundred directories at once and reports false.
func more(t *testing.T, dir string) bool {
	at, err := os.MkdirTemp(dir, "more")
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, os.Mkdir(filepath.Join(at, fmt.Sprint(i)), 0o755))
		require.NoError(t, os.Mkdir(filepath.Join(dir, "d", filepath.Base(at)+fmt.Sprint(i)), 0o755))
	}
	return false
}

// openBounded opens a Source that keeps little.
func openBounded(t *testing.T, name string, root *os.File, wake chan<- struct{}) (Source, *queue) {
	t.Helper()
	var source Source
	var q *queue
	var err error
	if name == "inotify" {
		source, err = Inotify(wake)
	} else {
		source, err = Fanotify(int(root.Fd()), true, wake)
	}
	require.NoError(t, err)
	switch s := source.(type) {
	case *inotify:
		q = &s.queue
	case *fanotify:
		q = &s.queue
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.soft = 256
	return source, q
}

// settled waits until the kernel's queue is read.
func settled(t *testing.T, q *queue) {
	t.Helper()
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.waiting() == 0
	}, 10*time.Second, time.Millisecond)
}
