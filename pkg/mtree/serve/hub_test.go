package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/dirwatch"
	"tidemark/pkg/mtree/serve/internal/longpoll"
)

// Where the host has no inotify watch left, long polls still see
// every change, within a second or so.
func TestWaitWithoutInotify(t *testing.T) {
	root := t.TempDir()
	h, err := New(Config{Root: root, Stats: &Stats{}})
	require.NoError(t, err)
	defer h.Close()
	watch, err := dirwatch.New()
	require.NoError(t, err)
	require.NoError(t, watch.Close()) // from now on it takes no directory
	hearing := h.hub
	h.hub = longpoll.New(h.hubConfig(watch), h.stop.Done())
	defer func() { h.cancel(); hearing.Close() }()
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/?txt", nil))
	done := make(chan int)
	go func() {
		r := httptest.NewRequest(http.MethodGet, "/?txt&wait=40", nil)
		r.Header.Set("If-None-Match", first.Header().Get("Etag"))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		done <- w.Code
	}()
	require.Eventually(t, func() bool { return h.cfg.Stats.Waiting.Load() == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(root+"/a", nil, 0o644))
	select {
	case code := <-done:
		require.Equal(t, 200, code)
	case <-time.After(5 * time.Second):
		t.Fatal("the change was missed")
	}
	require.Zero(t, h.cfg.Stats.Waiting.Load())
}
