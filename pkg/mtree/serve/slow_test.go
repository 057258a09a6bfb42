package serve_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// request opens a connection on which little is received, and sends a request.
func (s *site) request(text string) net.Conn {
	s.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(s, err)
	s.Cleanup(func() { _ = conn.Close() })
	require.NoError(s, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(conn, text)
	require.NoError(s, err)
	return conn
}

// A hundred slow readers of one listing of 50,000 entries took 1.3 GB on a copy, 2.3 GB
// where no stamp prunes, 0.7 GB of ?since: each had a reading and a rendering of its
// own. They share one in every state, and others are still answered.
func TestSlowReadersShareOneListing(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory counts
	}
	const entries, readers = 20_000, 30 // 6 MB as text: more than a socket's buffer
	root := inMemory(t)
	require.NoError(t, os.Mkdir(root+"/d", 0o755))
	for i := range entries {
		require.NoError(t, os.Symlink("x", fmt.Sprintf("%s/d/%0240d", root, i)))
	}
	for _, test := range []struct {
		state  wire.State
		target string
	}{
		{wire.Unwatched, "/d/?txt"}, {wire.Mirrored, "/d/?txt"}, {wire.Watched, "/d/?txt"}, {wire.Audited, "/d/?txt&since=0"},
	} {
		require.NoError(t, os.RemoveAll(root+"/.tidemark"))
		release := func() {}
		if test.state != wire.Unwatched {
			release = watched(t, root, test.state)
			if test.state == wire.Audited {
				release()
			}
		}
		s := &site{T: t, root: root, cfg: serve.Config{Root: root, CacheBytes: -1, Stats: &serve.Stats{}}}
		s.start()
		before := inUse()
		var conns []net.Conn
		for range readers {
			conns = append(conns, s.request("GET "+test.target+" HTTP/1.1\r\nHost: x\r\n\r\n"))
		}
		for _, conn := range conns { // each is being answered
			_, err := io.ReadFull(conn, make([]byte, 20))
			require.NoError(t, err)
		}
		each := (int64(inUse()) - int64(before)) / readers
		t.Logf("%s %s: %d KiB for each", test.state, test.target, each>>10)
		require.Less(t, each, int64(1<<20), "%s %s", test.state, test.target)
		require.Equal(t, 200, s.get("/?txt").StatusCode)
		for _, conn := range conns {
			require.NoError(t, conn.Close())
		}
		release()
	}
}

// The directories that a walk opens ahead stayed open while their readers took nothing: sixteen
// descriptors for each of them.
func TestSlowReadersOfParts(t *testing.T) {
	const dirs, names, readers = 200, 130, 5 // 6 MB: more than a socket's buffers
	files := map[string]string{}
	for d := range dirs {
		files[fmt.Sprintf("%03d/x", d)] = "1"
	}
	k := publishKept(t, serve.Config{}, files)
	k.ticks = false
	first := k.shows("")
	for d := range dirs {
		var changed []string
		for i := range names {
			changed = append(changed, fmt.Sprintf("%03d/%0240d", d, i))
		}
		k.publish(changed...)
	}
	k.get("/?txt")
	before := descriptors(t)
	for range readers {
		conn := k.request("GET " + since("/", first) + " HTTP/1.1\r\nHost: x\r\n\r\n")
		_, err := io.ReadFull(conn, make([]byte, 20))
		require.NoError(t, err)
	}
	last, times := int64(-1), 0 // until all wait for their readers
	require.Eventually(t, func() bool {
		told := k.cfg.Stats.Parts.Load()
		if times++; told != last {
			last, times = told, 0
		}
		return times > 20
	}, longest, 10*time.Millisecond)
	require.Less(t, last, int64(2*readers*dirs), "they wait")
	require.LessOrEqual(t, descriptors(t)-before, 3*readers, "two for each connection")
}

// descriptors returns how many descriptors this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// Two hundred lists of paths that withheld their last byte took 1.8 GB: they were
// read before anything counted them. The clients that send slowest are cut, and one
// that sends a short list is answered meanwhile.
func TestListsOfPathsAreBounded(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory counts
	}
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}}, map[string]string{"a": "1"})
	line := strings.Repeat("x", 250) + "/" + strings.Repeat("y", 250) + "/" + strings.Repeat("z", 250) + "\n"
	body := strings.Repeat(line, 7<<20/len(line))
	head := fmt.Sprintf("POST /?sums HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body)+1)
	before := inUse()
	gone := make(chan error, 100)
	for range 60 { // 420 MB
		conn := s.request(head)
		go func() {
			_, err := io.WriteString(conn, body)
			if err == nil {
				_, err = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			gone <- err
		}()
	}
	for range 30 { // more than half must go, or they would not fit
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody is let go")
		}
	}
	// A client may see that it was cut a moment before its list is given back.
	require.Eventually(t, func() bool { return int64(inUse())-int64(before) < 250<<20 }, 10*time.Second, 100*time.Millisecond)
	a := s.do(http.MethodPost, "/?sums", strings.NewReader("a\n"))
	require.Equal(t, 200, a.StatusCode)
	require.Contains(t, a.body, "  a\n")
}

// stuckWriter is the client of a request who takes nothing long, until it is cut.
type stuckWriter struct {
	header http.Header
	begun  func() // the answer is being sent; may be called more than once
	gone   chan struct{}
	cut    func() // closes gone; may be called more than once
}

func newStuckWriter(begun func()) *stuckWriter {
	w := &stuckWriter{header: http.Header{}, begun: sync.OnceFunc(begun), gone: make(chan struct{})}
	w.cut = sync.OnceFunc(func() { close(w.gone) })
	return w
}

func (w *stuckWriter) Header() http.Header { return w.header }
func (w *stuckWriter) WriteHeader(int)     {}
func (w *stuckWriter) CutOff()             { w.cut() }

func (w *stuckWriter) Write(p []byte) (int, error) {
	if len(p) < pages.Small {
		return len(p), nil
	}
	w.begun()
	<-w.gone
	return 0, io.ErrClosedPipe
}

// The listing that ?since reads ahead counted nowhere until its turn: each client that took nothing of the
// listing before it kept one of its own.
func TestSlowReadersOfTwoDirectories(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory counts
	}
	const readers = 60
	root := inMemory(t)
	for dir, entries := range map[string]int{"a": 3500, "b": 3200} { // 1 MB each; readers share a, and not b
		require.NoError(t, os.Mkdir(root+"/"+dir, 0o755))
		for i := range entries {
			require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%s/%0240d", root, dir, i), nil, 0o644))
		}
	}
	watched(t, root, wire.Watched)
	h, err := serve.New(serve.Config{Root: root, CacheBytes: -1, Stats: &serve.Stats{}})
	require.NoError(t, err)
	defer h.Close()
	before := inUse()
	var all sync.WaitGroup
	var clients []*stuckWriter
	for range readers {
		answered := make(chan struct{})
		w := newStuckWriter(func() { close(answered) })
		clients = append(clients, w)
		all.Go(func() {
			defer w.begun()
			defer func() { _ = recover() }() // the handler panics where a client has gone
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?txt&since=0", nil))
		})
		<-answered
	}
	each := (int64(inUse()) - int64(before)) / readers
	for _, w := range clients {
		w.cut()
	}
	all.Wait()
	t.Logf("%d KiB for each", each>>10)
	require.Less(t, each, int64(256<<10))
}

// Answers to ?changes of clients that took nothing counted nowhere: up to 10 MiB each.
func TestSlowReadersOfChanges(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory counts
	}
	const dirs, names, readers = 8, 800, 40
	path := func(d int) string { return strings.Repeat(fmt.Sprintf("%0240d/", d), 3) }
	files := map[string]string{}
	for d := range dirs {
		files[path(d)+"x"] = "1"
	}
	k := publishKept(t, serve.Config{}, files)
	k.ticks = false
	_, start := k.changed("")
	for d := range dirs {
		var changed []string
		for i := range names {
			changed = append(changed, fmt.Sprintf("%s%0240d", path(d), i))
		}
		k.publish(changed...)
	}
	target := "/?changes&after=" + start
	require.Greater(t, len(k.get(target).body), 4<<20)
	before := inUse()
	var all sync.WaitGroup
	var clients []*stuckWriter
	for range readers {
		answered := make(chan struct{})
		w := newStuckWriter(func() { close(answered) })
		clients = append(clients, w)
		all.Go(func() {
			defer w.begun()                  // or it was refused
			defer func() { _ = recover() }() // the handler panics where a client has gone
			k.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		})
		<-answered
	}
	more := (int64(inUse()) - int64(before)) >> 20
	for _, w := range clients {
		w.cut()
	}
	all.Wait()
	t.Logf("%d MiB", more)
	require.Less(t, more, int64(150), "128 MiB, and one that is made")
	require.Equal(t, 200, k.get(target).StatusCode, "all room was given back")
}

// Each STAMP is another answer to ?since, made for whoever asks for it. Clients that asked for many
// and took nothing had each an answer of up to 1 MiB made, which counted nowhere while it waited for
// room: for five seconds, and then they came again.
func TestSlowReadersOfManyAnswers(t *testing.T) {
	if raceEnabled {
		return // the detector's own memory counts
	}
	const entries, readers = 2500, 1000 // some 750 KB each; to stat the directory is a small one
	root := inMemory(t)
	require.NoError(t, os.Mkdir(root+"/d", 0o755))
	for i := range entries {
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/d/%0240d", root, i), nil, 0o644))
	}
	watched(t, root, wire.Watched)
	h, err := serve.New(serve.Config{Root: root, CacheBytes: -1, Stats: &serve.Stats{}})
	require.NoError(t, err)
	defer h.Close()
	before := inUse()
	var answered atomic.Int64
	var all sync.WaitGroup
	var clients []*stuckWriter
	for i := range readers {
		w := newStuckWriter(func() { answered.Add(1) })
		clients = append(clients, w)
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/d/?txt&since=0.%09d&part=1", i+1), nil)
		all.Go(func() {
			defer w.begun()                  // or it was refused
			defer func() { _ = recover() }() // the handler panics where a client has gone
			h.ServeHTTP(w, r)
		})
	}
	most := before
	require.Eventually(t, func() bool {
		most = max(most, inUse())
		return answered.Load() == readers
	}, longest, 10*time.Millisecond)
	for _, w := range clients {
		w.cut()
	}
	all.Wait()
	t.Logf("%d MiB at most", (most-before)>>20)
	require.Less(t, most-before, uint64(400<<20), "128 MiB, and what it takes to make them")
	a := httptest.NewRecorder()
	h.ServeHTTP(a, httptest.NewRequest(http.MethodGet, "/d/?txt&since=0.5&part=1", nil))
	require.Equal(t, 200, a.Code, "all room was given back")
	require.Greater(t, strings.Count(a.Body.String(), "\n"), entries)
}
