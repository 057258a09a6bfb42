package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// A limiter lets a number of requests in at once, fewer of one client, and each gives its
// place back.
func TestLimiter(t *testing.T) {
	gate := newLimiter(3, 2)
	from := func(address string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = address
		return r
	}
	leave1, ok := gate.tryEnter(&place{client: clientOf(from("a:1"))})
	require.True(t, ok)
	_, ok = gate.tryEnter(&place{client: clientOf(from("a:2"))})
	require.True(t, ok)
	_, ok = gate.tryEnter(&place{client: clientOf(from("a:3"))})
	require.False(t, ok, "two of one client")
	_, ok = gate.tryEnter(&place{client: "@"}) // a unix socket
	require.True(t, ok)
	_, ok = gate.tryEnter(&place{client: clientOf(from("b:1"))})
	require.False(t, ok, "three of all")
	leave1()
	_, ok = gate.tryEnter(&place{client: clientOf(from("b:1"))})
	require.True(t, ok)
}

// A request that waits for a place gets it when another one leaves, or from the one that
// has waited longest for its client: one of the same address if that has its share.
func TestLimiterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newLimiter(3, 2)
		gate.patience = 10 * time.Second
		cut := map[string]bool{}
		leaves := map[string]func(){}
		enter := func(client, name string) error {
			p := &place{client: client, cut: func() {
				cut[name] = true
				go leaves[name]()
			}}
			if name != "works" {
				p.blocked.Store(time.Now().UnixNano())
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			leave, err := gate.enter(r, p)
			leaves[name] = leave
			return err
		}
		require.NoError(t, enter("b", "slow b"))
		require.NoError(t, enter("a", "works"))
		<-time.After(time.Second)
		require.NoError(t, enter("a", "slow a"))
		begun := time.Now()
		require.NoError(t, enter("a", "third"))
		require.Greater(t, time.Since(begun), slowGrace)
		require.Equal(t, map[string]bool{"slow a": true}, cut)
		require.NoError(t, enter("c", "fourth"))
		require.Equal(t, map[string]bool{"slow a": true, "slow b": true}, cut)
		gate.places = map[*place]struct{}{} // nobody waits for its client
		begun = time.Now()
		require.ErrorIs(t, enter("d", "fifth"), errBusy)
		require.Equal(t, gate.patience, time.Since(begun))
	})
}

// Listings of large directories pass a limiter of their own; validators need no place.
func TestLargeListings(t *testing.T) {
	h, err := New(Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer h.Close()
	h.largeSize = -1
	ask := func(method string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/?txt", nil))
		return w.Code
	}
	require.Equal(t, 200, ask(http.MethodGet))
	h.largeLimit.patience = 0
	for range largeShare {
		_, ok := h.largeLimit.tryEnter(&place{client: clientOf(httptest.NewRequest(http.MethodGet, "/", nil))})
		require.True(t, ok)
	}
	require.Equal(t, 429, ask(http.MethodGet))
	require.Equal(t, 200, ask(http.MethodHead))
}

// Work for one client lost its cut: each file that was hashed, and each piece that was packed, moved
// the write deadline on again. A few lists of paths to large files took the room of all others for hours.
func TestWhatWorksIsCutForOthers(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/big", nil, 0o644))
	require.NoError(t, os.Truncate(root+"/big", 1<<40)) // a hole
	for name, ask := range map[string]struct{ method, target, body string }{
		"POST sums": {http.MethodPost, "/?sums", "big\n"},
		"GET sums":  {http.MethodGet, "/?sums", ""},
		"GET tar":   {http.MethodGet, "/?tar", ""},
		"blocks":    {http.MethodPost, "/?blocks", "big\t4194304\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := New(Config{Root: root, Tar: true})
			require.NoError(t, err)
			defer h.Close()
			h.room = pages.NewRoom(1)
			s := httptest.NewServer(h)
			defer s.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, ask.method, s.URL+ask.target, strings.NewReader(ask.body))
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				a, err := http.DefaultClient.Do(r)
				if err == nil {
					_, err = io.Copy(io.Discard, a.Body) // a client that reads
					_ = a.Body.Close()
				}
				assert.Error(t, err)
			}()
			require.Eventually(t, func() bool { return h.room.Bytes() > 0 && (len(h.hashing) > 0 || ask.target == "/?tar") }, 5*time.Second, time.Millisecond)
			one, err := h.room.Take(&pages.Load{Bytes: 1}, func() {})
			require.NoError(t, err)
			one.Give()
			<-done
		})
	}
}

// Four slow readers of one large directory locked everybody out of all of them for
// minutes, and of six requests from one address two were answered: a place was held
// until the last byte was read. It is held while a listing is made.
func TestSlowReadersOfLargeDirectories(t *testing.T) {
	root, err := os.MkdirTemp("/dev/shm", "serve-test-")
	require.NoError(t, err)
	defer os.RemoveAll(root)
	for _, dir := range []string{"/big", "/other"} {
		require.NoError(t, os.Mkdir(root+dir, 0o755))
		for i := range 15_000 { // 5 MB as text: more than a socket's buffer
			require.NoError(t, os.Mkdir(fmt.Sprintf("%s%s/%0240d", root, dir, i), 0o755))
		}
	}
	h, err := New(Config{Root: root, CacheBytes: -1})
	require.NoError(t, err)
	defer h.Close()
	h.largeSize = -1
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := Server(h, Fast)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	for i := range 3 * largeMost {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		_, err = io.WriteString(conn, "GET /big/?"+[]string{"txt", "json", "html"}[i%3]+" HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 100))
		require.NoError(t, err)
	}
	answers := make(chan string)
	for i := range 12 {
		go func() {
			response, err := http.Get("http://" + l.Addr().String() + []string{"/big/?txt", "/other/?html"}[i%2])
			if err != nil {
				answers <- err.Error()
				return
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			answers <- fmt.Sprint(response.StatusCode, err)
		}()
	}
	for range 12 {
		require.Equal(t, "200 <nil>", <-answers)
	}
}

// All that reads directories passes that limiter.
func TestLargeDirectoriesElsewhere(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.MkdirAll(top+"/a/b", 0o755))
	root, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	info, err := state.RootOf(root)
	require.NoError(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source}
	tree.Bind(info)
	require.NoError(t, m.WriteTree(tree))
	status, err := m.CreateStatus()
	require.NoError(t, err)
	defer status.Close()
	now := machine.Now()
	require.NoError(t, status.Write(state.Status{State: wire.Audited, Checkpoint: &now, Boot: machine.BootID()}))
	h, err := New(Config{Root: top})
	require.NoError(t, err)
	defer h.Close()
	ask := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		return w
	}
	targets := []string{"/?txt&since=0", "/?recent=1", "/?sums"}
	for _, target := range targets {
		require.Equal(t, 200, ask(target).Code, target)
	}
	h.largeSize = -1
	h.largeLimit = newLimiter(0, 0)
	for _, target := range targets {
		w := ask(target)
		require.Equal(t, 429, w.Code, target)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
	}
}

// A root that was stamped by a new run while its listing waited for its turn went out with that stamp and
// the runs from before: its readers took that for a roll-back, and compared everything by sums.
func TestRunsOfAStampThatCameWhileItWaited(t *testing.T) {
	top := t.TempDir()
	root, err := disk.OpenRoot(top)
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	info, err := state.RootOf(root)
	require.NoError(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source}
	tree.Bind(info)
	tree.BeginRun(info.MTime)
	require.NoError(t, m.WriteTree(tree))
	h, err := New(Config{Root: top})
	require.NoError(t, err)
	defer h.Close()
	h.largeSize = -1
	h.largeLimit.most = 1
	waits := make(chan struct{})
	other := &place{client: "other", cut: func() { close(waits) }}
	other.blocked.Store(1) // it is cut for a request that waits for its place
	leave, ok := h.largeLimit.tryEnter(other)
	require.True(t, ok)
	w, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?txt", nil))
	}()
	<-waits
	tree.BeginRun(info.MTime)
	require.NoError(t, m.WriteTree(tree))
	stamp := machine.Now()
	require.NoError(t, root.SetTime(stamp))
	leave()
	<-done
	require.Equal(t, 200, w.Code)
	require.Equal(t, stamp.String(), w.Header().Get(wire.HeaderStamp))
	require.Equal(t, tree.Runs, wire.ParseRuns(w.Header().Get(wire.HeaderRuns)))
}
