package mirror

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// start runs the mirror until the test ends.
func (b *bench) start() *running {
	b.t.Helper()
	ready := make(chan struct{})
	c := b.config
	if _, ok := c.Out.(stuck); !ok {
		c.Out = io.Discard
	}
	c.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		require.NoError(b.t, err)
	}
	r := &running{cancel, ended}
	b.t.Cleanup(func() { _ = r.stop() })
	return r
}

// running is a mirror under way.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

// stop ends it.
func (r *running) stop() error {
	r.cancel()
	return r.wait()
}

// wait waits until it ends by itself.
func (r *running) wait() error {
	err := <-r.ended
	r.ended <- err
	return err
}

// eventually waits until the copy equals the source.
func (b *bench) eventually(s *tree) {
	b.t.Helper()
	var diff []string
	var err error
	if !assertEventually(func() bool {
		diff, err = testtree.Differences(s.root, b.config.Dest)
		return err == nil && len(diff) == 0
	}) {
		require.NoError(b.t, err)
		require.Empty(b.t, diff, "source | copy")
	}
}

func assertEventually(ok func() bool) bool {
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if ok() {
			return true
		}
		<-tick.C
	}
	return ok()
}

func TestRunFollowsChanges(t *testing.T) {
	eachSource(t, func(t *testing.T, s *tree, b *bench) {
		b.config.Interval = 10 * time.Millisecond
		r := b.start()
		b.eventually(s)
		for _, change := range []string{"a/b/c = 1", "a/b/c = 22", "e/new/deep/file = x", "f = y"} {
			s.change(change)
			b.eventually(s)
		}
		s.remove("a/b")
		b.eventually(s)
		if b.server != nil {
			require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
		}
		require.NoError(t, r.stop())
		b.requireIdle()
	}, "a/b/c = one", "e/f = three")
}

// A change costs one answer for the listings and one for the file.
func TestRunNeedsTwoAnswersForAChange(t *testing.T) {
	s, b := overHTTP(t, "a/b/c/d = one", "e/f = two")
	b.start()
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	b.server.requests()
	s.change("a/b/c/d = changed")
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	asked := b.server.requests()
	require.Len(t, asked, 2, "%q", asked)
	require.Equal(t, "GET /a/b/c/d", asked[0])
	require.Contains(t, asked[1], "/?txt&since=")
}

func lastAsked(s *server, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked) > 0 && strings.Contains(s.asked[len(s.asked)-1], what)
}

// Without a change there is one request per poll, and nothing is written.
func TestRunIsIdle(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.start()
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return lastAsked(b.server, "since") }))
	before, err := os.ReadFile(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	info, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	n := len(b.server.requests())
	require.Equal(t, 4, n, "root, a, the file, the poll")
	after, err := os.ReadFile(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	again, err := os.Stat(b.path(".tidemark/status.json"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, info.ModTime(), again.ModTime())
}

// A mirror that starts and finds that nothing changed says so, once.
func TestTheFirstPassIsTold(t *testing.T) {
	s := watched(t, "a/b = one")
	b := newBench(t, s.root)
	b.config.Interval = time.Millisecond
	require.NoError(t, b.once())
	read, write := io.Pipe()
	c := b.config
	c.Out = write
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, c)
		_ = write.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(read)
	require.True(t, lines.Scan())
	require.Regexp(t, `^listed 0 directories, fetched 0 files \(0 bytes\), deleted 0`, lines.Text())
	s.change("a/b = two")
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "fetched 1 files")
	cancel()
	require.False(t, lines.Scan())
	require.NoError(t, <-ended)
}

// A mirror waits for a source that is away, and reports that.
func TestRunWaitsForItsSource(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.equal(s)
	s.change("a/b = two")
	b.server.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	b.start()
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "503 Service Unavailable") }))
	b.server.interfere(nil)
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return !strings.Contains(b.printStatus(), "error:") }))
}

// Directories that a pass left incomplete are tried again without a change at the source.
func TestRunRetriesWhatFailed(t *testing.T) {
	s, b := overHTTP(t, "a/b = one", "c/d = two")
	b.equal(s)
	s.change("a/b = three")
	b.server.answer("/a/?txt", http.StatusInternalServerError, "")
	b.start()
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "failed: 1\n") }))
	b.server.interfere(nil)
	b.eventually(s)
}

// A source whose stamps do not prune is walked ten minutes after the last walk at the earliest.
// If watch is started there, mirror notices it at once, even if that happens during a pass,
// whose listings then are of two trees.
func TestRunNoticesThatWatchWasStarted(t *testing.T) {
	s := newTree(t, "a/b = one", "c = two")
	b := s.benchOverHTTP()
	b.start()
	b.eventually(s)
	testtree.Make(t, s.root, "a/b = later")
	s.watch()
	s.publish("a/b")
	b.eventually(s)
	s.change("a/b = and later")
	b.eventually(s)
}

func TestATreeThatBecomesAnotherWithinAPass(t *testing.T) {
	s := newTree(t, "a/b = one", "c = two")
	b := s.benchOverHTTP()
	var once sync.Once
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/" {
			once.Do(s.watch)
			require.Eventually(t, func() bool { // serve looks at the state ten times a second
				answer := httptest.NewRecorder()
				b.server.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodHead, "/?txt", nil))
				return answer.Header().Get("Tidemark-State") == "watched"
			}, 10*time.Second, time.Millisecond)
		}
		return false
	})
	require.NoError(t, b.once(), "it looks again")
	b.same(s)
}

// A root with a time in the future does not show changes that were made since.
func TestWaitForIsNotMisledByATimeInTheFuture(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	future := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(s.root, future, future))
	b.equal(s)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, WaitFor(ctx, b.config, machine.Now()), context.DeadlineExceeded)
	require.NoError(t, WaitFor(context.Background(), b.config, stampOf(t, s.root)))
}

// stuck is a pipe that nobody reads.
type stuck struct{ end chan struct{} }

func (s stuck) Write([]byte) (int, error) { <-s.end; return 0, io.ErrClosedPipe }

// A full pipe that nobody read stopped the mirror at the end of a pass.
func TestAnOutputThatNobodyReads(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	out := stuck{make(chan struct{})}
	t.Cleanup(func() { close(out.end) })
	b.config.Out = out
	b.start()
	for _, text := range []string{"two", "three", "four"} {
		b.eventually(s)
		s.change("a/b = " + text)
	}
	b.eventually(s)
	require.Equal(t, "lost 3 lines\n", string(lostLines(3, nil)))
}

// WaitFor returns when the copy has everything up to a stamp.
func TestWaitFor(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.start()
	b.eventually(s)
	s.change("a/b = two")
	stamp := stampOf(t, s.root)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, WaitFor(ctx, b.config, stamp))
	require.Equal(t, "two", b.read("a/b"))
	cancel()
	require.ErrorIs(t, WaitFor(ctx, b.config, stamp.Add(time.Hour)), context.Canceled)
	require.Equal(t, exit.Refused, exit.Of(WaitFor(t.Context(), Config{Dest: s.root, Log: testLog(t)}, stamp)))
}

// A root that is replaced under a running mirror ends it.
func TestRunEndsWhenItsCopyIsReplaced(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	r := b.start()
	b.eventually(s)
	require.NoError(t, os.Rename(b.config.Dest, b.config.Dest+".old"))
	require.NoError(t, os.Mkdir(b.config.Dest, 0o755))
	s.change("a/b = two")
	err := r.wait()
	require.Equal(t, exit.Local, exit.Of(err), "%v", err)
	names, err := os.ReadDir(b.config.Dest)
	require.NoError(t, err)
	require.Empty(t, names)
}

// loseMarker removes the copy's .tidemark under a running mirror, which may write to it, or make it
// anew, meanwhile: then the directory is not empty, and it is removed again.
func (b *bench) loseMarker() {
	require.True(b.t, assertEventually(func() bool { return os.RemoveAll(b.path(".tidemark")) == nil }))
}

// A marker that is removed under a running mirror is made anew.
func TestRunMakesItsMarkerAnew(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	b.start()
	b.eventually(s)
	b.loseMarker()
	s.change("a/b = two")
	b.eventually(s)
	require.True(t, assertEventually(func() bool {
		_, err := os.Stat(b.path(".tidemark/tree"))
		return err == nil
	}))
}

// When it was removed in the middle of a pass, that pass failed and the next one waited; when it
// was removed again while mirror made it anew, mirror ended.
func TestRunMakesItsMarkerAnewMoreThanOnce(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	opened := 0
	b.config.meanwhile = func() {
		if opened++; opened%3 != 0 {
			_ = os.RemoveAll(b.path(".tidemark"))
		}
	}
	r := b.start()
	b.eventually(s)
	for i := range 30 {
		s.change(fmt.Sprintf("a/b%d = %d", i, i), fmt.Sprintf("c%d/d = x", i))
		require.True(t, assertEventually(func() bool { return os.Remove(b.path(".tidemark/lock")) == nil }))
		_ = os.RemoveAll(b.path(".tidemark")) // mirror may write to it meanwhile
	}
	b.eventually(s)
	require.NoError(t, r.stop())
}

// While nothing changed at the source it stayed away, for up to a week: the copy had no status, and
// for copies of it no stamps that prune.
func TestRunMakesItsMarkerAnewWhileIdle(t *testing.T) {
	s := watched(t, "a/b = one")
	b := newBench(t, s.root)
	b.config.Interval = time.Millisecond
	idle := make(chan struct{})
	told := sync.OnceFunc(func() { close(idle) })
	b.config.Notify = func(text string) {
		if strings.HasPrefix(text, "mirrored up to") {
			told()
		}
	}
	r := b.start()
	<-idle // a pass would notice by itself
	b.loseMarker()
	require.True(t, assertEventually(func() bool {
		_, err := os.Stat(b.path(".tidemark/tree"))
		return err == nil
	}))
	b.eventually(s)
	require.NoError(t, r.stop())
}

// The safety net: after some time a full walk is due, without a change at the source, and finds
// changes that no stamp showed.
func TestRunWalksWhenItIsTime(t *testing.T) {
	s := watched(t, "a/b = one")
	b := newBench(t, s.root)
	b.config.Interval = time.Millisecond
	now := machine.Now()
	b.config.Now = func() mtree.Stamp { return now }
	b.equal(s)
	require.NoError(t, os.WriteFile(s.path("a/b"), []byte("no stamp tells"), 0o644))
	now = now.Add(8 * 24 * time.Hour)
	b.config.Now = func() mtree.Stamp { return now }
	b.start()
	b.eventually(s)
	s.change("a/c = x")
	b.eventually(s)
	require.EqualValues(t, 1, b.stats.Walks.Load(), "one, and then it is quiet")
}

// A mirror that was refused for its token waited up to five minutes before it asked
// again, and then with the same token.
func TestRunTakesARenewedToken(t *testing.T) {
	s, b := overHTTP(t, "a/b = one")
	var token atomic.Pointer[string]
	var refused atomic.Int64
	give := func(text string) { token.Store(&text) }
	give("Bearer old")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer new" {
			return false
		}
		refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	b.config.Credentials = func() (*tls.Config, string) { return nil, *token.Load() }
	b.start()
	require.True(t, assertEventually(func() bool { return refused.Load() >= 2 }))
	give("Bearer new")
	b.eventually(s)
	s.change("a/b = 22")
	b.eventually(s)
}

// The pause after a refusal ends when there is another token.
func TestPauseEndsWithRenewedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := "old"
		c := Config{Stats: &Stats{}, Credentials: func() (*tls.Config, string) { return nil, token }}
		src, err := remote.Open(remote.Config{URL: "http://127.0.0.1/", Credentials: c.Credentials})
		require.NoError(t, err)
		d := &daemon{mirror: &mirror{config: c, source: src}}
		ended, end := context.WithCancel(t.Context())
		end()
		_, err = src.Root(ended, source.Poll{Once: true})
		require.ErrorIs(t, err, context.Canceled, "asked with the old token")
		start := time.Now()
		require.False(t, d.wait(t.Context(), nil, time.Minute))
		require.Equal(t, time.Minute, time.Since(start), "nothing is renewed")
		token, start = "new", time.Now()
		require.False(t, d.wait(t.Context(), nil, time.Hour))
		require.Equal(t, releaseLook, time.Since(start))
	})
}
