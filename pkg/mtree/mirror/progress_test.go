package mirror

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Progress is reported while a single large file is fetched, with the bytes of it that arrived.
// At the end the report is complete.
func TestProgressOfALargeFile(t *testing.T) {
	s, b := overHTTP(t, "big = "+strings.Repeat("b", 5<<20), "small = x")
	var arrived atomic.Int64
	var last Progress
	b.config.Progress = func(p Progress) {
		arrived.Store(p.Bytes)
		if last = p; !p.Done {
			require.LessOrEqual(t, p.Bytes, p.WantBytes)
			require.Positive(t, p.Took)
		}
	}
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big" {
			return false
		}
		w.Header().Set("ETag", r.Header.Get("If-Match"))
		w.Header().Set("Content-Length", fmt.Sprint(5<<20))
		_, _ = w.Write([]byte(strings.Repeat("b", 1<<20)))
		_ = http.NewResponseController(w).Flush()
		if !assertEventually(func() bool { return arrived.Load() >= 1<<20 }) {
			t.Error("nothing is told while it arrives")
		}
		_, _ = w.Write([]byte(strings.Repeat("b", 4<<20)))
		return true
	})
	b.equal(s)
	require.True(t, last.Done)
	require.EqualValues(t, 5<<20+1, last.Bytes)
	require.Equal(t, last.WantBytes, last.Bytes)
	require.EqualValues(t, 2, last.Fetched)
	require.Zero(t, last.Pending)
}
