package mirror

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/several"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// severalBench is a bench with several sources, each served by a server of its own.
type severalBench struct {
	*bench
	servers []*server
	log     *syncBuffer
}

// ofServed returns a bench with a source for each directory.
func ofServed(t *testing.T, roots ...string) *severalBench {
	b := &severalBench{log: &syncBuffer{}}
	for _, root := range roots {
		b.servers = append(b.servers, serveTree(t, root))
	}
	b.bench = newBench(t, b.servers[0].URL+"/")
	for _, s := range b.servers[1:] {
		b.config.Others = append(b.config.Others, Other{Source: s.URL + "/"})
	}
	b.config.firstProbe = 20 * time.Millisecond
	b.config.Log = slog.New(slog.NewTextHandler(b.log, nil))
	return b
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	text atomic.Pointer[string]
	bytes.Buffer
}

func (b *syncBuffer) Write(line []byte) (int, error) {
	n, err := b.Buffer.Write(line)
	text := b.Buffer.String()
	b.text.Store(&text)
	return n, err
}

func (b *syncBuffer) String() string {
	if text := b.text.Load(); text != nil {
		return *text
	}
	return ""
}

// away lets a server answer as a proxy does whose server is not there.
func (s *server) away() {
	s.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
}

// copies returns two copies of the tree, which have the same fingerprint and other ids. Nothing keeps them.
func copies(t *testing.T, s *tree) (one, two *bench) {
	one, two = newBench(t, serveTree(t, s.root).URL+"/"), newBench(t, serveTree(t, s.root).URL+"/")
	one.equal(s)
	two.equal(s)
	return one, two
}

// startKept starts the mirror of a copy, and waits until it is complete.
func (b *bench) startKept(s *tree) *running {
	r := b.start()
	b.isKept(s)
	return r
}

// isKept waits until the copy has what the tree has, and says so.
func (b *bench) isKept(s *tree) {
	b.t.Helper()
	info, err := os.Stat(s.root)
	require.NoError(b.t, err)
	require.True(b.t, assertEventually(func() bool {
		p := b.published()
		return p.State == wire.Mirrored && p.Status.Root != nil && p.Status.Root.Time().Equal(info.ModTime())
	}))
}

// The first source that answers is used. While it is away another one is, and nothing is compared that did
// not change, though each directory has another id there: the stamps are those of one tree.
func TestSwitchCostsNoWalk(t *testing.T) {
	s := watched(t, "a/b/f = one", "a/b/g = two", "c/d/f = three", "e = four")
	one, two := copies(t, s)
	one.startKept(s)
	two.startKept(s)
	b := ofServed(t, one.config.Dest, two.config.Dest)
	b.equal(s)
	require.Empty(t, b.servers[1].requests())

	b.servers[0].away()
	b.servers[0].requests()
	require.NoError(t, b.once())
	require.Equal(t, []string{"GET /?txt"}, b.servers[1].requests(), "stamps are equal")
	require.Equal(t, b.config.Others[0].Source, b.published().Tree.Upstream+"/")

	s.change("a/b/f = changed")
	two.isKept(s)
	b.equal(s)
	asked := b.servers[1].requests()
	slices.Sort(asked)
	require.Equal(t, []string{"GET /?txt", "GET /a/?txt", "GET /a/b/?txt", "GET /a/b/f", "POST /?sums&tags", "POST /?sums&tags"}, asked,
		"of what changed: /e and /a/b/g may come from directories that were replaced")
	require.NotContains(t, b.log.String(), "everything is compared")

	one.isKept(s)
	b.servers[0].interfere(nil)
	b.servers[0].requests()
	b.equal(s)
	require.Equal(t, []string{"GET /?txt"}, b.servers[0].requests(), "it is preferred")
}

// A source that shows the tree with other options, as a copy of it does, is compared once. What has the
// stamp of the other source is not read for that, whatever its ctime.
func TestSourcesOfDifferentOptions(t *testing.T) {
	s := watched(t, "a/b/f = one", "a/b/g = two", "c = three")
	b := ofServed(t, s.root, s.root)
	b.config.Others = nil
	b.equal(s) // before the copy: there ctimes are later
	one, _ := copies(t, s)
	b.servers[1] = serveTree(t, one.config.Dest)
	b.config.Others = []Other{{Source: b.servers[1].URL + "/"}}
	b.servers[0].away()
	b.equal(s)
	require.Contains(t, b.log.String(), "another one of the SOURCEs, which shows the tree with other options")
	asked := b.servers[1].requests()
	require.Contains(t, asked, "GET /a/b/?txt")
	sums := strings.Join(asked, " ")
	require.Equal(t, 1, strings.Count(sums, "POST"), "%q: only of the root, whose record is not trusted", asked)
	b.requireNothingNew(1)
}

// requireNothingNew requires that a pass asks a source for nothing but its root.
func (b *severalBench) requireNothingNew(number int) {
	b.t.Helper()
	b.servers[number].requests()
	require.NoError(b.t, b.once())
	require.Equal(b.t, []string{"GET /?txt"}, b.servers[number].requests())
}

// A running mirror goes over to the next source as soon as one fails, without ending a poll that waits for
// another reason, and back when the first is there again.
func TestRunGoesOverAndComesBack(t *testing.T) {
	s := watched(t, "a/f = one")
	b := ofServed(t, s.root, s.root)
	b.start()
	b.eventually(s)
	require.EqualValues(t, 1, b.stats.SourceNumber.Load())
	b.servers[0].awaitPoll()
	b.servers[0].away()
	b.servers[0].handler.Release() // the poll that waits
	require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 2 }))
	s.change("a/f = two", "b/g = new")
	b.eventually(s)
	require.Contains(t, b.printed(), `source 1: "`+strings.TrimSuffix(b.servers[0].URL, "/")+`": not used: "it answers 503 Service Unavailable"`)

	b.servers[0].reopen(serve.Config{Root: s.root, Hidden: true, Stats: &b.servers[0].stats})
	b.servers[0].interfere(nil)
	require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 1 }))
	b.servers[1].away()
	s.change("a/f = three")
	b.eventually(s)
	require.EqualValues(t, 2, b.stats.SourceChanges.Load())
	require.NotContains(t, b.log.String(), "everything is compared")
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printed(), `": used, since`) }))
}

// printed is what --status prints.
func (b *severalBench) printed() string {
	var out bytes.Buffer
	require.NoError(b.t, PrintStatus(&out, b.config.Dest, ""))
	return out.String()
}

// A serve that is restarted fails one request, and is there again. To go over to another source may cost a
// full walk.
func TestARestartIsNoSwitch(t *testing.T) {
	s := watched(t, "a/f = one")
	b := ofServed(t, s.root, s.root)
	b.start()
	b.eventually(s)
	b.servers[0].awaitPoll()
	var failed atomic.Int64
	b.servers[0].interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.RawQuery, "wait=") || failed.Add(1) > 1 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	b.servers[0].reopen(serve.Config{Root: s.root, Hidden: true, Stats: &b.servers[0].stats})
	s.change("a/f = two")
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return failed.Load() > 1 }))
	s.change("a/f = three")
	b.eventually(s)
	require.Zero(t, b.stats.SourceChanges.Load())
	require.Empty(t, b.servers[1].requests())
}

// A source that is behind is not used, not even if there is no other: the copy waits.
func TestACopyNeverGoesBack(t *testing.T) {
	s := watched(t, "a/f = one")
	old, _ := copies(t, s)
	s.change("a/f = two", "a/g = two")
	b := ofServed(t, s.root, old.config.Dest)
	b.equal(s)
	b.servers[0].away()
	err := b.once()
	require.ErrorContains(t, err, "it shows an older state of the tree than the copy has")
	require.Equal(t, exit.Unreachable, exit.Of(err))
	b.same(s)
	require.Contains(t, b.printed(), "older state")

	old.equal(s)
	require.NoError(t, b.once())
	b.same(s)
}

// If nothing can become of any source, that is refused. If one of them may come, it is not.
func TestSourcesThatAreAllRefused(t *testing.T) {
	s, other, plain := watched(t, "a = one"), watched(t, "a = one"), newTree(t, "a = one")
	b := ofServed(t, other.root, plain.root)
	b.config.Others = append(b.config.Others, Other{Source: t.TempDir() + "/none"})
	b.config.Source = serveTree(t, s.root).URL + "/"
	b.equal(s)
	b.config.Source = b.servers[0].URL + "/"
	err := b.once()
	require.Equal(t, exit.Unreachable, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, "it is of another tree")
	require.ErrorContains(t, err, "it has no tree id yet")
	b.config.Others = b.config.Others[:1]
	require.Equal(t, exit.Unreachable, exit.Of(b.once()), "a watch may come")
	plain.watch()
	require.True(t, assertEventually(func() bool { return exit.Of(b.once()) == exit.Refused }))
	require.Equal(t, exit.Refused, exit.Of(Run(t.Context(), b.config)), "a daemon ends at its start")
	b.same(s)

	b.config.Dest += "-new"
	b.config.Source, b.config.Others[0].Source = b.config.Others[0].Source, b.config.Source
	require.NoError(t, b.once(), "the first that has an id")
}

// After a boot mirror may come before the watch of its sources, or before that has put a lost .tidemark back.
// It ended with exit.Refused then, after which systemd does not start it again.
func TestSourcesThatAreNotWatchedYet(t *testing.T) {
	s := newTree(t, "a = one")
	b := ofServed(t, s.root, s.root)
	require.Equal(t, exit.Unreachable, exit.Of(b.once()))
	require.NoDirExists(t, b.config.Dest)
	r := b.start()
	require.True(t, assertEventually(func() bool { return strings.Contains(b.log.String(), "it has no tree id yet") }))
	s.watch()
	b.eventually(s)
	require.NoError(t, r.stop())
}

// A serve of the copy itself has its tree id, its epoch and its stamps.
func TestTheCopyIsNoSourceOfItself(t *testing.T) {
	s := watched(t, "a/f = one")
	b := ofServed(t, s.root, s.root)
	b.equal(s)
	b.config.Others[0].Source = serveTree(t, b.config.Dest).URL + "/"
	b.servers[0].away()
	require.ErrorContains(t, b.once(), "it is this copy, or made from it")
}

// Where nothing listens any more, each of the many requests of a pass failed after four tries.
func TestALostSourceEndsAPass(t *testing.T) {
	var lines []string
	for _, d := range strings.Split(strings.Repeat("d ", 300), " ") {
		lines = append(lines, d+"x"+string(rune('a'+len(lines)%26))+strings.Repeat("y", len(lines)/26)+"/f = one")
	}
	s := watched(t, lines...)
	b := ofServed(t, s.root, s.root)
	first := b.servers[0]
	var listed atomic.Int64
	first.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if listed.Add(1) == 5 {
			go first.Close()
			<-r.Context().Done()
		}
		return false
	})
	b.equal(s)
	require.EqualValues(t, 1, b.stats.SourceChanges.Load())
	require.Less(t, b.stats.Requests.Load(), int64(3*len(lines)))
	require.Less(t, strings.Count(b.log.String(), "msg=failed"), 20, "not each path is named")
}

// Nor is each of many files of one directory asked for: a first copy went on for two minutes with that.
func TestALostSourceEndsAFetch(t *testing.T) {
	var lines []string
	for i := range 500 {
		lines = append(lines, fmt.Sprintf("d/f%d = one", i))
	}
	s := watched(t, lines...)
	b := ofServed(t, s.root, s.root)
	first := b.servers[0]
	var once atomic.Bool
	first.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && !once.Swap(true) {
			go first.Close()
			<-r.Context().Done()
		}
		return false
	})
	b.equal(s)
	require.EqualValues(t, 1, b.stats.SourceChanges.Load())
	require.Less(t, b.stats.Requests.Load(), int64(200))
}

// What is sent to a source comes with it, and nothing else does.
func TestEachSourceGetsItsOwn(t *testing.T) {
	s := watched(t, "a = one")
	b := ofServed(t, s.root, s.root)
	var seen [2]atomic.Pointer[http.Header]
	for i, server := range b.servers {
		server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
			h := r.Header.Clone()
			seen[i].Store(&h)
			return false
		})
	}
	b.config.Authorization, b.config.Header = "Bearer first", http.Header{"X-Secret": {"first"}}
	b.config.Others[0].Authorization = "Bearer second"
	b.equal(s)
	require.Equal(t, "Bearer first", seen[0].Load().Get("Authorization"))
	b.servers[0].away()
	require.NoError(t, b.once())
	require.Equal(t, "Bearer second", seen[1].Load().Get("Authorization"))
	require.Empty(t, seen[1].Load().Get("X-Secret"))
}

// --verify without SOURCE asks the sources that the copy was made from, and sends to the second nothing
// that is meant for the first.
func TestVerifyAsksTheSourcesOfTheCopy(t *testing.T) {
	s := watched(t, "a/f = one", "b = two")
	b := ofServed(t, s.root, s.root)
	b.equal(s)
	b.servers[0].away()
	var authorization atomic.Pointer[string]
	b.servers[1].interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		text := r.Header.Get("Authorization")
		authorization.Store(&text)
		return false
	})
	c := b.config
	c.Source, c.Others, c.Authorization = "", nil, "Bearer first"
	require.NoError(t, Verify(t.Context(), c, false))
	require.Empty(t, *authorization.Load())
}

// A mirror of one source, made of several before, does not show them any more.
func TestStatusOfOneSource(t *testing.T) {
	s := watched(t, "a = one")
	b := ofServed(t, s.root, s.root)
	b.equal(s)
	require.Contains(t, b.printed(), "source 2: ")
	b.config.Others = nil
	b.equal(s)
	require.NotContains(t, b.printed(), "source 1: ")
	b.config.Others = []Other{{Source: b.config.Source}}
	require.Equal(t, exit.Usage, exit.Of(b.once()))
	b.config.Others = []Other{{Source: "http://"}}
	require.Equal(t, exit.Usage, exit.Of(b.once()))
}

// Where the only source that answers is a copy that no mirror keeps, it is used; but not if there is
// another one, which brings news.
func TestAStaleCopyIsTheLastChoice(t *testing.T) {
	s := watched(t, "a/f = one")
	stale, kept := copies(t, s)
	b := ofServed(t, stale.config.Dest, kept.config.Dest)
	r := kept.startKept(s)
	b.start()
	b.eventually(s)
	require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 2 }))
	require.NoError(t, r.stop())
	b.servers[1].away()
	b.servers[1].handler.Release()
	require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 1 }))
}

// Two mirrors each have the other as the second source, and both lose the first. Neither takes the
// other's word for its own for long, and both are back with the first when it is.
func TestMirrorsThatNameEachOther(t *testing.T) {
	s := watched(t, "a/f = one")
	one, two := ofServed(t, s.root), ofServed(t, s.root)
	one.equal(s)
	two.equal(s)
	at := func(b *severalBench) []Other { return []Other{{Source: serveTree(t, b.config.Dest).URL + "/"}} }
	one.config.Others, two.config.Others = at(two), at(one)
	one.start()
	two.start()
	for _, b := range []*severalBench{one, two} {
		require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 1 }))
		b.servers[0].awaitPoll()
	}
	for _, b := range []*severalBench{one, two} {
		b.servers[0].away()
		b.servers[0].handler.Release()
	}
	for _, b := range []*severalBench{one, two} {
		require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() != 1 }))
		b.same(s)
	}
	for _, b := range []*severalBench{one, two} {
		b.servers[0].reopen(serve.Config{Root: s.root, Hidden: true, Stats: &b.servers[0].stats})
		b.servers[0].interfere(nil)
	}
	s.change("a/f = two")
	one.eventually(s)
	two.eventually(s)
	for _, b := range []*severalBench{one, two} {
		require.True(t, assertEventually(func() bool { return b.stats.SourceNumber.Load() == 1 }))
	}
}

// A probe asks while a pass runs, and ends with the mirror.
func TestAProbeEndsWithItsMirror(t *testing.T) {
	s := watched(t, "a/f = one")
	b := ofServed(t, s.root, s.root)
	held := make(chan struct{})
	var once atomic.Bool
	b.servers[0].interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if once.Swap(true) {
			if once.Load() {
				select {
				case <-held:
				default:
					close(held)
				}
			}
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r := b.start()
	b.eventually(s)
	<-held
	s.change("a/f = two")
	b.eventually(s)
	began := machine.Now()
	require.NoError(t, r.stop())
	require.Less(t, machine.Now().Sub(began), several.AskTime/2)
	require.NoError(t, context.Cause(t.Context()))
}

// The first source was away, and another one stood in that was made with --exclude: what that leaves out was deleted.
func TestAStandInDeletesNothing(t *testing.T) {
	s := watched(t, "a/f = one", "a/x.iso = big", "b/g = 1", "b/h = 2", "c/i = 3", "c/j = 4")
	one := newBench(t, serveTree(t, s.root).URL+"/")
	one.config.Filters = []string{"- *.iso"}
	require.NoError(t, one.once())
	one.startKept(s)
	b := ofServed(t, s.root, one.config.Dest)
	b.equal(s)
	b.servers[0].away()
	err := b.once()
	require.Equal(t, exit.Held, exit.Of(err), err)
	require.FileExists(t, b.path("a/x.iso"))
	b.servers[0].interfere(nil)
	s.remove("b")
	b.equal(s)
}

// A copy stood in whose own source hides a directory since its serve was started anew. Its mirror keeps that one as it was
// then, below a root that is as new as any: the copy of several sources got the old files back, and deleted ones, too.
func TestAStandInTakesNothingBack(t *testing.T) {
	s := watched(t, "a/f = one", "k/f = one", "k/g = 1")
	at := serveTree(t, s.root)
	one := newBench(t, at.URL+"/")
	one.startKept(s)
	at.reopen(serve.Config{Root: s.root, Hidden: true, Exclude: []string{"k/"}})
	s.change("a/f = two")
	one.isKept(s)
	b := ofServed(t, s.root, one.config.Dest)
	s.change("k/f = changed")
	s.remove("k/g")
	b.equal(s)
	one.isKept(s)
	require.Equal(t, "one", one.read("k/f"))
	b.servers[0].away()
	b.equal(s)
	s.change("a/f = three")
	one.isKept(s)
	b.equal(s)
	s.change("k/f = later")
	one.isKept(s)
	b.servers[0].interfere(nil)
	b.equal(s)
}

// A copy that no mirror keeps was used in place of a source that brings news, because it was named before it; then
// that one again, and so on.
func TestAStaleCopyIsNotComeBackTo(t *testing.T) {
	s := watched(t, "a/f = one")
	stale, _ := copies(t, s)
	b := ofServed(t, stale.config.Dest, s.root)
	b.start()
	b.eventually(s)
	require.Never(t, func() bool { return b.stats.SourceChanges.Load() > 1 }, 500*time.Millisecond, 10*time.Millisecond)
}
