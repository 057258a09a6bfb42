package longpoll

import (
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// start starts a hub on an empty directory.
func start(t *testing.T, watch *dirwatch.Watch, changed func() bool) (h *Hub, dir *disk.Dir) {
	t.Helper()
	dir, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	stop := make(chan struct{})
	h = New(Config{Watch: watch, MaxWaiters: 2, Waiting: new(atomic.Int64), Log: slog.New(slog.DiscardHandler), Quoted: error.Error, Changed: changed}, stop)
	t.Cleanup(func() {
		close(stop)
		h.Close()
		require.NoError(t, dir.Close())
	})
	return h, dir
}

func woken(t *testing.T, wake <-chan struct{}) {
	t.Helper()
	select {
	case <-wake:
	case <-time.After(10 * time.Second):
		require.Fail(t, "not woken")
	}
}

func never() bool { return false }

// A change wakes all who wait for the directory, who share one topic; so many may wait,
// and a topic is gone with its last waiter.
func TestTopicWakes(t *testing.T) {
	watch, err := dirwatch.New()
	require.NoError(t, err)
	h, dir := start(t, watch, never)
	one, wake, err := h.Join(dir, wire.Unwatched, nil)
	require.NoError(t, err)
	two, wake2, err := h.Join(dir, wire.Unwatched, nil)
	require.NoError(t, err)
	require.Same(t, one, two)
	_, _, err = h.Join(dir, wire.Unwatched, nil)
	require.ErrorIs(t, err, ErrCrowded)
	require.EqualValues(t, 2, h.cfg.Waiting.Load())
	require.NoError(t, os.WriteFile(dir.Path()+"/a", nil, 0o644))
	woken(t, wake)
	woken(t, wake2)
	again, wake, err := h.Join(dir, wire.Unwatched, one)
	require.NoError(t, err)
	require.Same(t, one, again, "whoever joins again waits once")
	require.EqualValues(t, 2, h.cfg.Waiting.Load())
	begun := time.Now()
	require.NoError(t, os.WriteFile(dir.Path()+"/b", nil, 0o644))
	woken(t, wake)
	require.Less(t, time.Since(begun), stateEvery)
	h.Leave(again)
	h.Leave(two)
	h.Leave(nil)
	require.Zero(t, h.cfg.Waiting.Load())
	require.Empty(t, h.topics)
}

// Whoever waits is woken when the tree says something else of itself, and without inotify
// once a second.
func TestTopicWakesWithoutEvents(t *testing.T) {
	for name, changed := range map[string]func() bool{"state": func() bool { return true }, "no inotify": never} {
		var watch *dirwatch.Watch
		if name == "state" {
			var err error
			watch, err = dirwatch.New()
			require.NoError(t, err)
		}
		h, dir := start(t, watch, changed)
		topic, wake, err := h.Join(dir, wire.Watched, nil)
		require.NoError(t, err)
		woken(t, wake)
		h.Leave(topic)
	}
}

// That directories cannot be heard is logged once.
func TestUnheardIsLoggedOnce(t *testing.T) {
	watch, err := dirwatch.New()
	require.NoError(t, err)
	require.NoError(t, watch.Close())
	h, dir := start(t, watch, never)
	logged := 0
	h.cfg.Quoted = func(err error) string {
		logged++
		require.Error(t, err)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
		return err.Error()
	}
	for range 2 {
		topic, _, err := h.Join(dir, wire.Watched, nil)
		require.NoError(t, err)
		h.Leave(topic)
	}
	require.Equal(t, 1, logged)
}
