package mirror

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// unwatchedServed serves a tree without a watcher, and lets a copy of it lie in it.
func unwatchedServed(t *testing.T, at string, lines ...string) (*tree, *bench) {
	s := newTree(t, lines...)
	b := newBench(t, "")
	b.server = serveTree(t, s.root)
	b.config.Source, b.config.Dest = b.server.URL, s.path(at)
	return s, b
}

// A copy in an unwatched tree copied itself, one level deeper with each pass: no id shows that it
// is the copy. A running mirror ends, and nothing is deleted.
func TestACopyInAnUnwatchedTree(t *testing.T) {
	for _, at := range []string{"copy", "a/copy", "a/b/copy"} {
		s, b := unwatchedServed(t, at, "a/b/f = one", "g = x", "copy2/h = y")
		b.refuses("is in the source: \"" + at + "\"")
		require.Equal(t, exit.Refused, exit.Of(Run(t.Context(), b.config)))
		require.NoFileExists(t, b.path(at+"/"+at))
		require.Equal(t, int64(0), b.counters().Held)
		require.FileExists(t, s.path("copy2/h"))
		b.config.DryRun = true
		b.refuses("is in the source")
	}
}

// A copy that filters exclude is not copied into itself.
func TestACopyInItsSourceThatIsExcluded(t *testing.T) {
	_, b := unwatchedServed(t, "a/copy", "a/b/f = one", "g = x")
	b.config.Filters = []string{"- /a/copy"}
	require.NoError(t, b.once())
	require.NoError(t, b.once())
	require.NoDirExists(t, b.path("a/copy"))
}

// A source that is DEST, or a directory in it, was taken for another directory: what it did not
// have was deleted, and so was the source itself.
func TestASourceInItsCopy(t *testing.T) {
	for _, at := range []string{".", "a", "a/b", "flat"} {
		dest := newTree(t, "a/b/c/f = one", "a/g = x", "flat/h = y", "flat/i = z")
		b := newBench(t, serveTree(t, dest.path(at)).URL)
		b.config.Dest, b.config.Adopt, b.config.MaxDelete = dest.root, true, "100%"
		b.refuses("it would be copied into itself")
		for _, name := range []string{"a/b/c/f", "a/g", "flat/h", "flat/i"} {
			require.FileExists(t, dest.path(name))
		}
	}
}

// A directory of a copy, served by itself, is taken for a source that has lost its id.
func TestASourceInItsCopyThatLostItsID(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "g = x")
	b.equal(s)
	b.config.Source = serveTree(t, b.path("a")).URL
	b.refuses("has the source in it: \"a\"")
	require.NoDirExists(t, b.path("b"))
}

// A proxy may remove the header that shows a ring.
func TestACopyOfItselfBehindAProxy(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "g = x")
	b.equal(s)
	own := serveTree(t, b.config.Dest)
	own.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		answer := httptest.NewRecorder()
		own.present().ServeHTTP(answer, r)
		answer.Header().Del("Tidemark-Upstream")
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return true
	})
	b.config.Source = own.URL
	b.refuses("is the source itself")
}

// Three copies of each other ran without a message, each as new as the others. A later copy
// that would join the ring is refused, too; one that only copies from it is not.
func TestARing(t *testing.T) {
	s, a := overHTTP(t, "a/f = one")
	a.equal(s)
	next := func(from *bench) *bench {
		b := newBench(t, serveTree(t, from.config.Dest).URL)
		require.NoError(t, b.once())
		return b
	}
	b := next(a)
	c := next(b)
	a.config.Source = serveTree(t, c.config.Dest).URL
	a.refuses("a ring")
	require.Equal(t, "one", a.read("a/f"))
	require.NoError(t, c.once())
	next(c)
}

// A ring that was closed while its mirrors ran was not found either.
func TestARingThatIsClosedLater(t *testing.T) {
	s, a := overHTTP(t, "a/f = one")
	log := &heard{}
	a.config.Log = slog.New(slog.NewTextHandler(log, nil))
	a.start()
	a.eventually(s)
	copied := newBench(t, serveTree(t, a.config.Dest).URL)
	require.NoError(t, copied.once())
	chain := wire.FormatUpstreams(func() []wire.Upstream { p := copied.published(); return p.Upstreams() }())
	a.server.awaitPoll()
	a.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Tidemark-Upstream", chain)
		return false
	})
	s.change("a/f = two")
	a.eventually(s) // the poll that waited was asked before
	s.change("a/f = three")
	log.eventually(t, "a ring")
	require.Equal(t, "two", a.read("a/f"))
	a.server.interfere(nil)
	a.eventually(s)
}

// If stamps do not prune, only the next full walk found a ring in which nothing was new.
func TestARingThatSaysNothingNew(t *testing.T) {
	s := newTree(t, "a/f = one")
	b := newBench(t, "")
	b.server = serveTree(t, s.root)
	b.config.Source = b.server.URL
	log := &heard{}
	b.config.Log = slog.New(slog.NewTextHandler(log, nil))
	b.start()
	b.eventually(s)
	copied := newBench(t, serveTree(t, b.config.Dest).URL)
	require.NoError(t, copied.once())
	p := copied.published()
	b.server.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Tidemark-Upstream", wire.FormatUpstreams(p.Upstreams()))
		return false
	})
	require.Eventually(t, func() bool {
		s.publish("a/f") // a poll under way was asked before
		return strings.Contains(log.String(), "a ring")
	}, 20*time.Second, 50*time.Millisecond)
}

// A bind mount shows a directory under another path.
func TestLocation(t *testing.T) {
	dir := t.TempDir()
	device, inside := machine.Location(dir)
	require.NotEmpty(t, device)
	_, below := machine.Location(filepath.Join(dir, "a b"))
	require.Equal(t, filepath.Join(inside, "a b"), below)
	device, inside = machine.Location("/proc/self")
	require.NotEmpty(t, device)
	require.Equal(t, "/self", inside)
}
