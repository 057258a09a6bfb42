package serve_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/fastpath"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Server bounds headers, their time, and idle connections; whole answers take
// as long as they take.
func TestServerLimits(t *testing.T) {
	server := serve.HTTPServer(http.NotFoundHandler())
	require.Equal(t, 10*time.Second, server.ReadHeaderTimeout)
	require.Equal(t, 120*time.Second, server.IdleTimeout)
	require.Equal(t, 64<<10, server.MaxHeaderBytes)
	require.Zero(t, server.WriteTimeout)
	require.Zero(t, server.ReadTimeout)
}

// paced counts the deadlines that are set.
type paced struct {
	*httptest.ResponseRecorder
	deadlines int
	last      time.Time
}

func (p *paced) SetWriteDeadline(t time.Time) error {
	p.deadlines++
	p.last = t
	return nil
}

// A client that reads slowly has a minute for each piece, not for the whole.
func TestDeadlinesRoll(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t), Tar: true}, nil)
	require.NoError(t, os.WriteFile(s.path("big"), make([]byte, 16<<20), 0o644))
	for i := range 5000 {
		require.NoError(t, os.Symlink("x", s.path(strings.Repeat("\xff", 240)+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)))))
	}
	for target, least := range map[string]int{"/big": 16, "/?txt": 6, "/?tar": 100, "/?since=0": 10} {
		w := &paced{ResponseRecorder: httptest.NewRecorder()}
		s.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		require.Equal(t, 200, w.Code, target)
		require.GreaterOrEqual(t, w.deadlines, least, target)
		require.WithinDuration(t, time.Now().Add(time.Minute), w.last, 30*time.Second)
	}
}

// Pipelined requests are answered in order, half-closed connections to the end,
// giant headers with 431, and a body where none belongs ends the connection.
func TestOddConnections(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1", "b": "22"})
	dial := func() (*net.TCPConn, *bufio.Reader) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		return conn.(*net.TCPConn), bufio.NewReader(conn)
	}
	read := func(in *bufio.Reader) (int, string) {
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	conn, in := dial()
	_, err := io.WriteString(conn, strings.Repeat("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n", 50))
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	for range 50 {
		for _, want := range []string{"1", "22", "404 not found\n"} {
			_, body := read(in)
			require.Equal(t, want, body)
		}
	}
	conn, in = dial()
	_, err = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("y", 80<<10)+"\r\n\r\n")
	require.NoError(t, err)
	status, _ := read(in)
	require.Equal(t, 431, status)

	conn, in = dial()
	_, err = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nGET /b HTTP/1.1\r\n")
	require.NoError(t, err)
	status, _ = read(in)
	require.Equal(t, 400, status)
	_, err = in.ReadByte()
	require.Error(t, err, "what follows is no request")
}

// Whatever clients do, what they used is given back: descriptors, goroutines.
func TestNothingLeaks(t *testing.T) {
	s := publishWatched(t, serve.Config{Stats: &serve.Stats{}, Tar: true}, map[string]string{"d/a": "1", "l": "-> d/a", "dl": "-> d", "gone": "-> x"})
	require.NoError(t, os.WriteFile(s.path("big"), make([]byte, 32<<20), 0o644))
	ask := func() {
		for _, target := range []string{
			"/", "/?txt", "/?json", "/?html", "/d", "/d/", "/dl/", "/d/a", "/l", "/gone", "/none/", "/?sums", "/?tar", "/?status",
			"/?recent=3", "/?since=1", "/?txt&wait=0.001", "/d/a/", "/dl/a", "/?txt&since=1&wait=0.001",
		} {
			s.get(target)
			s.get(target, "If-None-Match", "*", "If-Match", "\"x\"", "Range", "bytes=0-1,2-3")
			s.do(http.MethodPost, target, strings.NewReader("d/a\nnone\n"))
		}
		response, conn := s.slowly("/big")
		_ = response
		_ = conn.Close()
		s.waiting(0)
	}
	ask()
	fds, routines := openFiles(t), runtime.NumGoroutine()
	for range 2 {
		ask()
	}
	require.Eventually(t, func() bool { return openFiles(t) <= fds && runtime.NumGoroutine() <= routines+2 }, 10*time.Second, 10*time.Millisecond)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// While a directory changes all the time, every answer is whole: a listing that
// says it is hot, or one that matches its stamp; and never an entry twice.
func TestListingUnderChurn(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	var stop atomic.Bool
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; !stop.Load(); i++ {
			name := s.path("f" + string(rune('a'+i%26)))
			_ = os.WriteFile(name, []byte("x"), 0o644)
			_ = os.Rename(name, name+"2")
			_ = os.Remove(name + "2")
			_ = os.Mkdir(name, 0o755)
			_ = os.Remove(name)
		}
	})
	for range 40 {
		for _, target := range []string{"/?txt", "/fa/?txt", "/fa", "/fa2", "/?json", "/?html", "/?sums", "/?recent=5", "/?since=0"} {
			a := s.get(target)
			require.Contains(t, []int{200, 301, 404}, a.StatusCode, target)
			if target == "/?txt" {
				_, err := mtree.ParseListing([]byte(a.body))
				require.NoError(t, err, a.body)
			}
		}
	}
	stop.Store(true)
	churn.Wait()
}

// A copy on a file system without extended attributes keeps its records in a
// log: its finished directories are not hot.
func TestRecordsInLog(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(root+"/d/e", 0o755))
	watched(t, root, wire.Mirrored)
	dir, err := disk.OpenRoot(root)
	require.NoError(t, err)
	defer dir.Close()
	m, err := state.OpenMarker(dir, "")
	require.NoError(t, err)
	defer m.Close()
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.start()
	require.True(t, s.list("/d/").Hot)
	log, err := records.OpenLog(m)
	require.NoError(t, err)
	defer log.Close()
	sub, err := dir.OpenDir("d")
	require.NoError(t, err)
	defer sub.Close()
	info, err := sub.Self()
	require.NoError(t, err)
	require.NoError(t, log.Set("d", records.Record{Stamp: info.MTime}))
	require.Eventually(t, func() bool { return !s.list("/d/").Hot }, 5*time.Second, 10*time.Millisecond)
	require.True(t, s.list("/d/e/").Hot)
	require.Equal(t, 304, s.get("/d/?txt", "If-None-Match", s.get("/d/?txt").Header.Get("ETag")).StatusCode)
}

// State files that make no sense are no reason not to serve: as unwatched.
func TestBrokenMarker(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(root+"/.tidemark", 0o755))
	require.NoError(t, os.WriteFile(root+"/.tidemark/tree", []byte("{"), 0o644))
	s := &site{T: t, root: root, cfg: serve.Config{Root: root}}
	s.start()
	require.Equal(t, "unwatched", s.get("/?txt").Header.Get("Tidemark-State"))
	require.False(t, s.h.NeverWatched(), "who knows")
	require.True(t, publish(t, serve.Config{}, nil).h.NeverWatched())
}

// Out of descriptors nobody knows whether the root is still what it was, nor
// whether its stamps are kept: it counts as degraded, and as the same tree.
func TestWithoutDescriptorsTheRootStands(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	head := func() http.Header {
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/?txt", nil))
		require.Equal(t, 200, w.Code)
		return w.Header()
	}
	tag := head().Get("ETag")
	testfs.WithoutDescriptors(t, func() {
		require.Eventually(t, func() bool { return head().Get("Tidemark-State") == "degraded" }, 5*time.Second, 10*time.Millisecond)
		require.Equal(t, treeID, head().Get("Tidemark-Tree"))
		require.Empty(t, head().Get("ETag"), "no stamp proves anything")
	})
	require.Eventually(t, func() bool { return head().Get("Tidemark-State") == "watched" }, 5*time.Second, 10*time.Millisecond)
	require.Equal(t, tag, head().Get("ETag"))
}

// Many read the root at once, each by a descriptor of its own: every listing is
// whole.
func TestRootIsSharedSafely(t *testing.T) {
	files := map[string]string{}
	for i := range 500 {
		files["file"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+string(rune('a'+i/26))] = ""
	}
	s := publish(t, serve.Config{Root: inMemory(t)}, files)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				w := httptest.NewRecorder()
				s.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?txt", nil))
				if l, err := mtree.ParseListing(w.Body.Bytes()); err != nil || len(l.Entries) != len(files) {
					t.Errorf("%d entries of %d, %v", len(l.Entries), len(files), err)
				}
			}
		})
	}
	all.Wait()
}

// A body belongs to POST: with GET and HEAD it is an error, and a method that
// is not served is told so with a body too. Neither waits for the body.
func TestBodiesAndMethods(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	for method, want := range map[string]int{
		http.MethodGet: 400, http.MethodHead: 400,
		http.MethodPut: 405, http.MethodDelete: 405, http.MethodPatch: 405,
	} {
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, httptest.NewRequest(method, "/a", strings.NewReader("body")))
		require.Equal(t, want, w.Code, method)
		require.Equal(t, "close", w.Header().Get("Connection"), method)
		if want == 405 {
			require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"), method)
		}
	}
}

// A client that never ends its header, or sends none, is cut; so is one that says nothing
// between requests. Others are answered meanwhile.
func TestSlowClientsAreLetGo(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a": "1"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	limits := serve.HTTPServer(s.h)
	limits.ReadHeaderTimeout /= 20 // half a second
	limits.IdleTimeout = limits.ReadHeaderTimeout
	server := fastpath.New(limits, nil)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	s.url = "http://" + l.Addr().String()
	var conns []net.Conn
	for _, begin := range []string{"", "GET /a HTTP/1.1\r\nHost: x\r\nX: ", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"} {
		for range 20 {
			conn, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, begin)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			conns = append(conns, conn)
		}
	}
	require.Equal(t, "1", s.get("/a").body)
	for _, conn := range conns {
		_, err := io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server ends it")
	}
}

// Paths longer than any that can be opened are not looked at: with 30,000 components that
// took seconds, and much longer with a "**" to match.
func TestEndlessPaths(t *testing.T) {
	h, err := serve.New(serve.Config{Root: t.TempDir(), Exclude: []string{"**/x/**/y/**/z"}})
	require.NoError(t, err)
	defer h.Close()
	for _, path := range []string{"/" + strings.Repeat("y/", 30_000), "/" + strings.Repeat("y/", 2000)} {
		w := httptest.NewRecorder()
		begun := time.Now()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, 404, w.Code)
		require.Less(t, time.Since(begun), 2*time.Second)
	}
	w := httptest.NewRecorder()
	list := strings.Repeat(strings.Repeat("y/", 6000)+"z\n", 200)
	h.ServeHTTP(w, httptest.NewRequest("POST", "/?sums", strings.NewReader(list)))
	require.Equal(t, 200, w.Code)
	require.Zero(t, w.Body.Len())
}
