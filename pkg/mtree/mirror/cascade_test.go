package mirror

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// copyOf returns a bench for a copy of the copy of b, which it serves.
func copyOf(t *testing.T, b *bench) *bench {
	server := serveTree(t, b.config.Dest)
	second := newBench(t, server.URL+"/")
	second.server = server
	return second
}

// anew restarts the serve of b's source: it reads at once what the tree says of itself.
func (b *bench) anew(root string) {
	b.server.reopen(serve.Config{Root: root, Hidden: true})
}

// The first serve of a cascade was restarted with --hidden: the first copy got files under
// unchanged stamps, and the second never did. Now a copy publishes another fingerprint,
// but only when it is complete again: otherwise the second would walk too early.
func TestOtherOptionsAtTheHeadOfACascade(t *testing.T) {
	s, first := served(t, serve.Config{}, "a/b/f = x", "a/b/.dot = y", "c/.d/e = z", "c/f = x", "g = x")
	require.NoError(t, first.once())
	second := copyOf(t, first)
	require.NoError(t, second.once())
	third := copyOf(t, second)
	require.NoError(t, third.once())
	require.NoFileExists(t, third.path("a/b/.dot"))
	first.server.reopen(serve.Config{Root: s.root, Hidden: true})

	// A pass that fetches a part and does not end.
	first.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/c/.d") {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	require.Error(t, first.once())
	require.FileExists(t, first.path("a/b/.dot"))
	for range 2 {
		second.anew(first.config.Dest)
		_ = second.once() // it may find the first copy unfinished
	}
	first.server.interfere(nil)
	first.equal(s)
	for _, hop := range []struct {
		b    *bench
		from string
	}{{second, first.config.Dest}, {third, second.config.Dest}} {
		hop.b.anew(hop.from)
		hop.b.equal(s)
		hop.b.anew(hop.from)
		hop.b.requireIdle()
	}
}

// A copy was made without symlinks for a moment, which was shorter than a serve keeps what it
// read of .tidemark. A copy of that copy saw the new stamps under the old fingerprint, without
// the symlink; when that was there again, with the same stamps, nothing told it.
func TestOptionsThatComeAndGo(t *testing.T) {
	s, first := overHTTP(t, "a/f = x", "a/l -> f")
	first.equal(s)
	second := copyOf(t, first)
	second.equal(s)
	s.change("a/f = changed")
	second.anew(first.config.Dest) // it has just read what the copy says of itself
	first.config.NoLinks = true
	require.NoError(t, first.once())
	_ = second.once() // it may find it unfinished
	first.config.NoLinks = false
	first.equal(s)
	second.anew(first.config.Dest)
	second.equal(s)
}

// The source's serve left out a directory for less than a pass of the copy, which completed the
// directory above it meanwhile. A copy of that copy listed it, and what came later to the one that
// had been left out moved no stamp above it.
func TestOptionsOfTheSourceThatComeAndGo(t *testing.T) {
	s, first := served(t, serve.Config{}, "s/k/f = x", "s/g = y", "z/h = z")
	first.equal(s)
	second := copyOf(t, first)
	second.equal(s)
	s.change("s/k/f = changed", "s/g = changed", "z/h = changed")
	first.server.reopen(serve.Config{Root: s.root, Exclude: []string{"k/"}})
	first.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/z/" {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	require.Error(t, first.once())
	require.Error(t, second.once(), "the first one is not complete")
	require.Equal(t, "changed", second.read("s/g"))
	require.Equal(t, "x", second.read("s/k/f"))
	first.server.interfere(nil)
	first.server.reopen(serve.Config{Root: s.root})
	first.equal(s)
	second.anew(first.config.Dest)
	second.equal(s)
}

// The same, and the copy lost its .tidemark before it was complete again: it published the options of
// before, as if they had never been others.
func TestACopyThatForgotItsOptions(t *testing.T) {
	s, first := served(t, serve.Config{}, "s/k/f = x", "s/g = y", "z/h = z")
	first.equal(s)
	second := copyOf(t, first)
	second.equal(s)
	s.change("s/k/f = changed", "s/g = changed", "z/h = changed")
	first.server.reopen(serve.Config{Root: s.root, Exclude: []string{"k/"}})
	first.server.answer("/z/?txt", http.StatusInternalServerError, "")
	require.Error(t, first.once())
	require.Error(t, second.once(), "the first one is not complete")
	require.Equal(t, "x", second.read("s/k/f"))
	first.server.interfere(nil)
	first.server.reopen(serve.Config{Root: s.root})
	require.NoError(t, os.RemoveAll(first.path(".tidemark")))
	first.config.Adopt = true
	first.equal(s)
	second.anew(first.config.Dest)
	second.equal(s)
}

// Two copies that stand behind one address, of which one was away while the source had other
// options, told of different ones for ever: a mirror of the two walked without an end.
func TestCopiesThatMissedOptionsAreAlike(t *testing.T) {
	s, first := served(t, serve.Config{}, "a/f = x", "g = y")
	first.equal(s)
	other := newBench(t, first.config.Source)
	other.server = first.server
	other.equal(s)
	first.server.reopen(serve.Config{Root: s.root, Exclude: []string{"g"}})
	require.NoError(t, first.once())
	first.server.reopen(serve.Config{Root: s.root})
	first.equal(s)
	other.equal(s)
	later := newBench(t, first.config.Source)
	later.server = first.server
	later.equal(s)
	options := func(b *bench) string {
		resp, err := http.Get(copyOf(t, b).config.Source + "?txt")
		require.NoError(t, err)
		defer resp.Body.Close()
		tag, ok := wire.ParseListingTag(resp.Header.Get("ETag"))
		require.True(t, ok)
		return tag.Fingerprint
	}
	require.Equal(t, options(first), options(other))
	require.Equal(t, options(first), options(later))
}

// The same between the root and a directory, in one pass of the copy of the copy.
func TestOtherOptionsOfACopyInMidPass(t *testing.T) {
	s, first := overHTTP(t, "a/f = x", "a/l -> f")
	first.equal(s)
	second := copyOf(t, first)
	second.equal(s)
	s.change("a/f = changed")
	first.equal(s)
	second.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a/" && r.Header.Get("Cache-Control") == "" { // it is asked for again, as it is later than listed
			first.config.NoLinks = !first.config.NoLinks
			s.change("a/f = twice")
			require.NoError(t, first.once())
		}
		return false
	})
	require.Error(t, second.once())
	second.server.interfere(nil)
	first.config.NoLinks = false
	first.equal(s)
	second.anew(first.config.Dest)
	second.equal(s)
}

// A mirror was killed after it wrote its stamps and before its status. The next one, which
// finds the copy complete, publishes that for the copies of the copy.
func TestOtherOptionsAndAKill(t *testing.T) {
	s, first := served(t, serve.Config{}, "a/f = x", "a/.dot = y")
	require.NoError(t, first.once())
	second := copyOf(t, first)
	require.NoError(t, second.once())
	first.server.reopen(serve.Config{Root: s.root, Hidden: true})
	status := filepath.Join(first.config.Dest, ".tidemark/status.json")
	before, err := os.ReadFile(status)
	require.NoError(t, err)
	first.equal(s)
	require.NoError(t, os.WriteFile(status, before, 0o644))
	second.anew(first.config.Dest)
	require.NoError(t, second.once())
	first.requireIdle()
	second.anew(first.config.Dest)
	second.equal(s)
}

// A source on this machine is read by the same rule: mirror notices another fingerprint of a
// copy although no stamp moves.
func TestOtherOptionsReachALocalCopy(t *testing.T) {
	s, first := served(t, serve.Config{}, "a/f = x", "a/.dot = y")
	require.NoError(t, first.once())
	second := newBench(t, first.config.Dest)
	require.NoError(t, second.once())
	first.server.reopen(serve.Config{Root: s.root, Hidden: true})
	first.equal(s)
	second.equal(s)
}

// serve has --cross-mounts and watch does not: what is on another file system stays in the
// copy as it is, counts as skipped, and stops no directory from completing.
func TestWhatWatchDoesNotHearIsKept(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root, to mount")
	}
	s := newTree(t, "d/f = x", "mnt/", "g = x")
	require.NoError(t, syscall.Mount("none", s.path("mnt"), "tmpfs", 0, ""))
	t.Cleanup(func() { _ = syscall.Unmount(s.path("mnt"), syscall.MNT_DETACH) })
	testtree.Make(t, s.root, "mnt/a = 1", "mnt/sub/b = 2")
	b := newBench(t, "")
	b.server = serveTree(t, s.root)
	b.config.Source = b.server.URL + "/"
	crossing := serve.Config{Root: s.root, Hidden: true, CrossMounts: true}
	b.server.reopen(crossing)
	b.equal(s)
	s.watch()
	b.server.reopen(crossing)
	b.config.Adopt = true // the source now has a tree id
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1, failed 0")
	b.config.Adopt = false
	b.same(s)
	require.NoError(t, os.Remove(s.path("mnt/a")))
	testtree.Make(t, s.root, "mnt/sub/b = changed")
	s.change("d/f = changed")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "deleted 0, held 0, skipped 1, failed 0")
	require.Equal(t, "1", b.read("mnt/a"))
	require.Equal(t, "2", b.read("mnt/sub/b"))
	b.requireIdle()
	// Now watch hears changes there: the files come although no stamp moved.
	far := true
	require.NoError(t, s.status.Write(state.Status{State: wire.Watched, CrossMounts: &far}))
	b.server.reopen(crossing)
	b.equal(s)
	b.requireIdle()
}
