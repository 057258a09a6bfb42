package mirror

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Small files do not wait for large ones, though these are found first: while some large
// files take their time, all small ones arrive. After them the smallest of the large
// files come first. With one job all large files come after the small ones.
func TestSmallFilesDoNotWaitForLargeOnes(t *testing.T) {
	for _, jobs := range []int{1, 8} {
		lines := many("a/b/c", 300)
		for i := range 12 {
			lines = append(lines, fmt.Sprintf("big%d = %s", i, strings.Repeat("b", 4<<20+1+100*(i*7%12))))
		}
		s, b := overHTTP(t, lines...)
		b.config.Jobs = jobs
		var mu sync.Mutex
		var order []string
		b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/big") {
				return false
			}
			arrived := assertEventually(func() bool {
				names, err := os.ReadDir(b.path("a/b/c"))
				return err == nil && len(names) == 300
			})
			mu.Lock()
			defer mu.Unlock()
			if !arrived {
				t.Error("small files wait for", r.URL.Path)
			}
			order = append(order, r.URL.Path)
			return false
		})
		b.equal(s)
		require.Len(t, order, 12)
		if jobs == 1 {
			require.Equal(t, []string{"/big0", "/big7", "/big2", "/big9", "/big4", "/big11", "/big6", "/big1", "/big8", "/big3", "/big10", "/big5"}, order)
		}
	}
}

// A large file that never ends delays nothing else, not even the other large files.
func TestALargeFileThatHangsStarvesNobody(t *testing.T) {
	lines := many("a/b", 50)
	for i := range 6 {
		lines = append(lines, fmt.Sprintf("big%d = %s", i, strings.Repeat("b", 4<<20+1+i)))
	}
	s, b := overHTTP(t, lines...)
	b.config.Jobs = 4
	stop := make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(stop) }))
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/big0" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(4<<20+1))
		_, _ = w.Write([]byte("b"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		return true
	})
	b.start()
	require.True(t, assertEventually(func() bool {
		for i := range 5 {
			if _, err := os.Stat(b.path(fmt.Sprintf("big%d", i+1))); err != nil {
				return false
			}
		}
		names, err := os.ReadDir(b.path("a/b"))
		return err == nil && len(names) == 50
	}))
	_ = s
}

// A pass kept each complete directory in memory until it had written files: in a full walk, or
// a first copy with many directories and few files, all of them, and with SIGTERM it was cut
// off while it stamped them.
func TestDirectoriesWithoutFilesAreCommitted(t *testing.T) {
	s := watched(t)
	for i := range 40 {
		s.change(fmt.Sprintf("a/%d/", i))
	}
	b := s.benchOverHTTP()
	b.config.commitFiles = 10
	b.halfway()
	complete := 0
	for i := range 40 {
		if r, ok := b.record(fmt.Sprintf("a/%d", i)); ok && !isUnfinished(r) {
			complete++
		}
	}
	require.Equal(t, 40, complete)
	b.equal(s)
}
