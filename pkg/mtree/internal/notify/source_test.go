package notify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/notify/notifytest"
)

func openInotify(_ *os.File, wake chan<- struct{}) (notify.Source, error) {
	return notify.Inotify(wake)
}

func openFanotify(root *os.File, wake chan<- struct{}) (notify.Source, error) {
	return notify.Fanotify(int(root.Fd()), true, wake)
}

func TestInotify(t *testing.T) { notifytest.Run(t, openInotify) }

// Needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH.
func TestFanotify(t *testing.T) { notifytest.Run(t, openFanotify) }

// lostWithin takes until something is lost.
func lostWithin(t *testing.T, s notify.Source, wake <-chan struct{}) string {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		if events := s.Take(); events.Lost != "" {
			return events.Lost
		}
		select {
		case <-wake:
		case <-timeout:
			t.Fatal("nothing was lost")
		}
	}
}

// A queue of the kernel that overflows is a loss, and names the sysctl.
func TestOverflow(t *testing.T) {
	for _, c := range []struct {
		sysctl string
		open   notifytest.Open
	}{
		{"fs.inotify.max_queued_events", openInotify},
		{"fs.fanotify.max_queued_events", openFanotify},
	} {
		dir := t.TempDir()
		root, err := os.Open(dir)
		require.NoError(t, err)
		defer root.Close()
		wake := make(chan struct{}, 1)
		var source notify.Source
		testfs.WithSysctl(t, c.sysctl, 2, func() { source, err = c.open(root, wake) })
		require.NoError(t, err)
		_, _, err = source.Arm(notify.Ref{}, -1, "", int(root.Fd()))
		require.NoError(t, err)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					_ = os.WriteFile(filepath.Join(dir, fmt.Sprint(i%1000)), nil, 0o644)
				}
			}
		}()
		require.Contains(t, lostWithin(t, source, wake), c.sysctl)
		close(stop)
		<-stopped
		require.NoError(t, source.Close())
	}
}

// A limit on watches names the sysctl and a number that suffices.
func TestWatchLimit(t *testing.T) {
	require.Empty(t, notify.WatchShortage(10))
	text := notify.WatchShortage(10_000_000)
	require.Contains(t, text, "fs.inotify.max_user_watches")
	require.Contains(t, text, "sysctl -w")
}

// What happens elsewhere on the file system wakes nobody, once it is known to
// be elsewhere; a directory moved in from there is heard again.
func TestNoiseOutside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	wake := make(chan struct{}, 1)
	s, err := openFanotify(root, wake)
	require.NoError(t, err)
	defer s.Close()
	noise := func() { require.NoError(t, os.WriteFile(filepath.Join(outside, "noise"), []byte("x"), 0o644)) }
	// Without noise of others on this disk there is one wake for the first.
	woken := func() int {
		n := 0
		for range 100 {
			noise()
			select {
			case <-wake:
				n++
			case <-time.After(time.Millisecond):
			}
			require.Empty(t, s.Take().Dirs)
		}
		return n
	}
	woken()
	require.Eventually(t, func() bool { return woken() < 50 }, 10*time.Second, time.Millisecond)

	sub := filepath.Join(outside, "sub")
	require.NoError(t, os.Mkdir(sub, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(sub, "f"), nil, 0o644))
	require.Empty(t, s.Take().Dirs)
	require.NoError(t, os.Rename(sub, filepath.Join(dir, "sub")))
	heard := func(path, name string) func() bool {
		return func() bool {
			for _, h := range s.Take().Dirs {
				for _, e := range h.Entries {
					if h.Path == path && e.Name == name {
						return true
					}
				}
			}
			return false
		}
	}
	require.Eventually(t, heard("", "sub"), 10*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "f"), []byte("x"), 0o644))
	require.Eventually(t, heard("sub", "f"), 10*time.Second, time.Millisecond)
}
