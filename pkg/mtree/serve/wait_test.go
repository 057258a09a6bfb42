package serve_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// stamp sets the mtime of a directory or file, as watch does: the mtime alone,
// which is another event to inotify than both times.
func (s *site) stamp(name string, to mtree.Stamp) {
	s.Helper()
	if info, err := os.Stat(s.path(name)); err == nil && !info.IsDir() {
		require.NoError(s, os.Chtimes(s.path(name), to.Time(), to.Time()))
		return
	}
	dir, err := disk.OpenRoot(s.path(name))
	require.NoError(s, err)
	defer dir.Close()
	require.NoError(s, dir.SetTime(to))
}

// waiting waits until n requests are held.
func (s *site) waiting(n int) {
	s.Helper()
	require.Eventually(s, func() bool { return s.cfg.Stats.Waiting.Load() == int64(n) }, 5*time.Second, time.Millisecond)
}

// Long poll: with an If-None-Match that differs the listing comes at once.
func TestWaitAnswersWhatDiffers(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	for _, header := range [][]string{nil, {"If-None-Match", `"1.000000000-txt-abcdef"`}} {
		a := s.get("/?txt&wait=40", header...)
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	}
}

// Long poll: a time-out is a 304 with the Tidemark headers, no-store.
func TestWaitTimesOut(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	begun := time.Now()
	a := s.get("/?txt&wait=0.05", "If-None-Match", tag)
	require.Equal(t, 304, a.StatusCode)
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, tag, a.Header.Get("ETag"))
	require.Equal(t, "watched", a.Header.Get("Tidemark-State"))
	require.Equal(t, "Accept-Encoding", a.Header.Get("Vary"))
}

// Long poll: a stamp set on the directory wakes at once, in any tree, and one
// watch on the directory is enough.
func TestWaitWakes(t *testing.T) {
	for _, live := range []bool{true, false} {
		t.Run("watched "+strconv.FormatBool(live), func(t *testing.T) {
			cfg := serve.Config{Stats: &serve.Stats{}}
			files := map[string]string{"d/a": "1"}
			var s *site
			if live {
				s = publishWatched(t, cfg, files)
			} else {
				s = publish(t, cfg, files)
			}
			tag := s.get("/d/?txt").Header.Get("ETag")
			done := make(chan answer)
			go func() { done <- s.get("/d/?txt&wait=40", "If-None-Match", tag) }()
			s.waiting(1)
			begun := time.Now()
			s.write("d/b", "2")
			s.stamp("d", machine.Now())
			a := <-done
			require.Less(t, time.Since(begun), wakeLimit)
			require.Equal(t, 200, a.StatusCode)
			l, err := mtree.ParseListing([]byte(a.body))
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b"}, names(l))
			s.waiting(0)
		})
	}
}

// wakeLimit is generous: the machine may be busy, and 45 s is what it must not
// become.
const wakeLimit = 5 * time.Second

// While stamps are kept, the kernel's own mtime of a directory, a moment before
// the stamp, wakes nobody. At the end of the wait it is told, for a 304 would
// confirm another listing than the one the client has.
func TestWaitWakesForStampsOnly(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	done := make(chan answer, 1)
	begun := time.Now()
	go func() { done <- s.get("/?txt&wait=0.5", "If-None-Match", tag) }()
	s.waiting(1)
	s.write("b", "2")
	require.NoError(t, os.Chmod(s.path("b"), 0o600)) // an event of an entry, not of the directory
	a := <-done
	require.GreaterOrEqual(t, time.Since(begun), 500*time.Millisecond)
	require.Equal(t, 200, a.StatusCode)
	require.NotEqual(t, tag, a.Header.Get("ETag"))
}

// What changes between the last answer and the next request is not missed: the
// topic is joined before the stamps are compared.
func TestWaitMissesNothing(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	now := machine.Now()
	for i := range 200 {
		tag := s.get("/?txt").Header.Get("ETag")
		done := make(chan answer)
		go func() { done <- s.get("/?txt&wait=40", "If-None-Match", tag) }()
		if i%2 == 0 {
			s.waiting(1)
		}
		s.stamp("", now.Add(time.Duration(i)))
		select {
		case a := <-done:
			require.Equal(t, 200, a.StatusCode)
			require.Equal(t, now.Add(time.Duration(i)).String(), a.Header.Get("Tidemark-Stamp"))
		case <-time.After(wakeLimit):
			t.Fatal("a change was missed")
		}
	}
}

// Too many waiters: 304 at once, with Retry-After.
func TestWaitIsBounded(t *testing.T) {
	s := publishWatched(t, serve.Config{MaxWaiters: 1, Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", tag) }()
	s.waiting(1)
	a := s.get("/?txt&wait=40", "If-None-Match", tag)
	require.Equal(t, 304, a.StatusCode)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	s.h.Release()
	require.Equal(t, 304, (<-done).StatusCode, "Release lets those go who wait")
}

// A watcher that dies is told to those who wait: their directory says nothing.
func TestWaitTellsTheState(t *testing.T) {
	cfg := serve.Config{Root: t.TempDir(), Stats: &serve.Stats{}}
	release := watched(t, cfg.Root, wire.Watched)
	dir, err := disk.OpenRoot(cfg.Root)
	require.NoError(t, err)
	defer dir.Close()
	m, err := state.OpenMarker(dir, "")
	require.NoError(t, err)
	defer m.Close()
	status, err := m.CreateStatus()
	require.NoError(t, err)
	defer status.Close()
	require.NoError(t, status.Write(state.Status{State: wire.Watched})) // no checkpoint yet
	s := &site{T: t, root: cfg.Root, cfg: cfg}
	s.start()
	a := s.get("/?txt")
	require.Equal(t, "watched", a.Header.Get("Tidemark-State"))
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", a.Header.Get("ETag")) }()
	s.waiting(1)
	release() // now nobody vouches for the stamps
	select {
	case a := <-done:
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, "unwatched", a.Header.Get("Tidemark-State"))
	case <-time.After(wakeLimit):
		t.Fatal("nobody was told")
	}
}

// Waiters are woken at once after quiet, then at most every 100 ms.
func TestWaitersAreNotWokenTooOften(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	first := s.get("/?txt").Header.Get("ETag")
	// One waiter that nothing satisfies keeps the topic, and its time, alive.
	go func() { _ = s.get("/?txt&wait=40", "If-None-Match", "*") }()
	s.waiting(1)
	now := machine.Now()
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", first) }()
	s.waiting(2)
	begun := time.Now()
	s.stamp("", now)
	second := <-done
	go func() { done <- s.get("/?txt&wait=40", "If-None-Match", second.Header.Get("ETag")) }()
	s.waiting(2)
	s.stamp("", now.Add(1))
	<-done
	require.Greater(t, time.Since(begun), 90*time.Millisecond)
	s.h.Release()
}

// A directory that is removed while somebody waits for it is an error, not
// silence.
func TestWaitForWhatIsRemoved(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"d/": ""})
	tag := s.get("/d/?txt").Header.Get("ETag")
	done := make(chan answer)
	go func() { done <- s.get("/d/?txt&wait=40", "If-None-Match", tag) }()
	s.waiting(1)
	require.NoError(t, os.Remove(s.path("d")))
	require.Equal(t, 404, (<-done).StatusCode)
}

// Who waited in vain is told the tag again, where the listing had to be read for
// it too.
func TestTimeOutTellsTheTag(t *testing.T) {
	for _, s := range []*site{publish(t, serve.Config{}, map[string]string{"a": "1"}), publishWatched(t, serve.Config{}, map[string]string{"a": "1"})} {
		tag := s.get("/?txt").Header.Get("ETag")
		require.NotEmpty(t, tag)
		a := s.get("/?txt&wait=0.01", "If-None-Match", tag)
		require.Equal(t, 304, a.StatusCode)
		require.Equal(t, tag, a.Header.Get("ETag"))
	}
}

// Where every look means reading the directory, fewer may wait.
func TestReadersAreBounded(t *testing.T) {
	s := publish(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	done := make(chan answer, 16)
	for range 16 {
		go func() { done <- s.get("/?txt&wait=40", "If-None-Match", tag) }()
	}
	s.waiting(16)
	a := s.get("/?txt&wait=40", "If-None-Match", tag)
	require.Equal(t, 304, a.StatusCode)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	s.write("b", "2")
	for range 16 {
		require.Equal(t, 200, (<-done).StatusCode)
	}
	require.Equal(t, 304, s.get("/?txt&wait=0.01", "If-None-Match", s.get("/?txt").Header.Get("ETag")).StatusCode, "the places are given back")
}
