package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve/internal/pages"
)

// What is held back of files counts, too, as soon as there is much of it.
func TestTailsAreHeld(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/f", []byte("bytes"), 0o644))
	h, err := New(Config{Root: root})
	require.NoError(t, err)
	defer h.Close()
	h.freeTails, h.room = 0, pages.NewRoom(tailSize)
	get := func() string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/f", nil))
		return w.Body.String()
	}
	require.Equal(t, "bytes", get())
	require.Zero(t, h.room.Bytes())
	cut := make(chan struct{})
	slow, err := h.room.Take(&pages.Load{Bytes: 1}, func() { close(cut) })
	require.NoError(t, err)
	go func() {
		<-cut
		slow.Give()
	}()
	require.Equal(t, "bytes", get())
	select {
	case <-cut:
	default:
		t.Fatal("who holds more than there is room for is let go")
	}
	require.Zero(t, h.room.Bytes())
	require.Zero(t, h.tails.Load())
}
