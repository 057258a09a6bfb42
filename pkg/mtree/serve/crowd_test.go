package serve_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve"
)

// Thousands wait at a small price, all are woken within a second of a change,
// and answered from one listing.
func TestCrowd(t *testing.T) {
	crowd := uint64(2000)
	if raceEnabled {
		crowd = 200
	}
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	tag := s.get("/?txt").Header.Get("ETag")
	request := "GET /?txt&wait=40 HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + tag + "\r\n\r\n"
	before := inUse()
	conns := make([]net.Conn, crowd)
	for i := range conns {
		var err error
		conns[i], err = net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		defer conns[i].Close()
		_, err = io.WriteString(conns[i], request)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return uint64(s.cfg.Stats.Waiting.Load()) == crowd }, 20*time.Second, 5*time.Millisecond)
	each := (inUse() - before) / crowd
	t.Logf("%d bytes for each of %d, client included", each, crowd)
	if !raceEnabled {
		require.Less(t, each, uint64(32<<10)) // three stacks and a buffer are 20 KiB of it
	}
	listings := s.cfg.Stats.Listings.Load()
	begun := time.Now()
	s.stamp("", machine.Now())
	for _, conn := range conns {
		response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
		require.NoError(t, err)
		require.Equal(t, 200, response.StatusCode)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
	}
	t.Logf("all woken and answered in %s", time.Since(begun))
	if !raceEnabled {
		require.Less(t, time.Since(begun), 2*time.Second)
	}
	// One reading would do; on a busy machine some come when it has ended.
	require.Less(t, s.cfg.Stats.Listings.Load()-listings, int64(len(conns)/10), "a reading serves many")
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
