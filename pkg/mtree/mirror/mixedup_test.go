package mirror

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve"
)

// recorded returns what the server answers now.
func (s *server) recorded(path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	s.handler.ServeHTTP(answer, r)
	return answer
}

// replay answers requests for path with an answer that was recorded.
func (s *server) replay(path string, answer *httptest.ResponseRecorder) {
	s.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if keyOf(r) != path {
			return false
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return true
	})
}

// A proxy that answered a request for one directory with the listing of another one, as one
// does that is an answer behind or keeps answers under the wrong name, had everything
// deleted that the other one lacks. Where it answered with the root, the pass went down
// without end.
func TestAListingOfAnotherDirectory(t *testing.T) {
	for _, other := range []string{"/?txt", "/b/?txt", "/empty/?txt"} {
		s, b := overHTTP(t, "a/1 = x", "a/2 = y", "a/c/3 = z", "b/4 = w", "empty/")
		b.equal(s)
		s.change("a/5 = new")
		b.server.replay("/a/?txt", b.server.recorded(other))
		require.ErrorContains(t, b.once(), "it is of \"/", other)
		require.Equal(t, "x", b.read("a/1"))
		require.Equal(t, "z", b.read("a/c/3"))
		b.server.interfere(nil)
		b.equal(s)
		b.requireIdle()
	}
}

// Where the tree had no id, no listing said of which directory it was: what the other one
// lacked was deleted, and where a proxy answered each request with the root, the copy became a
// tree without an end.
func TestAPageOfAnotherDirectoryOfAnUnwatchedTree(t *testing.T) {
	for path, says := range map[string]string{"/a/?txt": "it is of \"/", "/?txt": "the copy is one of \"/\" in the tree"} {
		for _, other := range []string{"/?txt", "/b/?txt", "/empty/?txt"} {
			if other == path {
				continue
			}
			s, b := unwatchedServed(t, "", "a/1 = x", "a/2 = y", "a/c/3 = z", "b/4 = w", "empty/")
			b.config.Dest = filepath.Join(t.TempDir(), "copy")
			require.NoError(t, b.once())
			s.change("a/5 = new")
			b.server.replay(path, b.server.recorded(other))
			require.ErrorContains(t, b.once(), says)
			require.Equal(t, "x", b.read("a/1"))
			require.Equal(t, "z", b.read("a/c/3"))
			require.NoDirExists(t, filepath.Join(b.config.Dest, "a/a"))
			b.server.interfere(nil)
			require.NoError(t, b.once())
			require.Equal(t, "new", b.read("a/5"))
		}
	}
}

// A proxy gave the answer of another file, which had the same size and times, and so the same
// ETag: its bytes were stored, under the right stamp.
func TestAnAnswerOfAnotherFile(t *testing.T) {
	const at = " @1700000000.5"
	s, b := overHTTP(t, "d/a = one"+at, "d/b = two"+at)
	b.equal(s)
	s.change("d/a = new"+at, "d/b = old"+at)
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		other, ok := map[string]string{"/d/a": "/d/b", "/d/b": "/d/a"}[r.URL.Path]
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusNotImplemented) // one by one
		case ok:
			r.URL.Path, r.RequestURI = other, other
			b.server.present().ServeHTTP(w, r)
		}
		return ok || r.Method == http.MethodPost
	})
	require.Error(t, b.once())
	require.Equal(t, "one", b.read("d/a"))
	require.Equal(t, "two", b.read("d/b"))
	b.server.interfere(nil)
	b.equal(s)
}

// Two files of one ETag were exchanged, and a proxy that refused the request for sums mixed up the
// answers from which they were made then: the copy kept the two as they had been, for good.
func TestTheSumOfAnotherFile(t *testing.T) {
	const at = " @1700000000.5"
	s, b := overHTTP(t, "d/a = one"+at, "d/b = two"+at)
	b.equal(s)
	tagOf := func(name string) string { return b.server.recorded(name).Header().Get("ETag") }
	require.Eventually(t, func() bool { // in one tick, and an odd number of times
		require.NoError(t, unix.Renameat2(unix.AT_FDCWD, s.path("d/a"), unix.AT_FDCWD, s.path("d/b"), unix.RENAME_EXCHANGE))
		text, err := os.ReadFile(s.path("d/a"))
		require.NoError(t, err)
		return string(text) == "two" && tagOf("/d/a") == tagOf("/d/b")
	}, 30*time.Second, time.Millisecond)
	s.change("d/c = new")
	mixes := true
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		other, ok := map[string]string{"/d/a": "/d/b", "/d/b": "/d/a"}[r.URL.Path]
		ok = ok && mixes
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusNotImplemented) // one by one
		case ok:
			r.URL.Path, r.RequestURI = other, other
			b.server.present().ServeHTTP(w, r)
		}
		return ok || r.Method == http.MethodPost
	})
	require.Error(t, b.once())
	mixes = false
	b.equal(s)
	require.Equal(t, "two", b.read("d/a"))
}

// The same with the right header before the listing of another directory.
func TestAListingWithTheHeaderOfAnother(t *testing.T) {
	s, b := overHTTP(t, "a/1 = x", "a/2 = y", "b/4 = w")
	b.equal(s)
	s.change("a/5 = new")
	mixed := b.server.recorded("/b/?txt")
	maps.Copy(mixed.Header(), b.server.recorded("/a/?txt").Header())
	mixed.Header().Del("Content-Length")
	b.server.replay("/a/?txt", mixed)
	require.ErrorContains(t, b.once(), "header and text are of different answers")
	require.Equal(t, "x", b.read("a/1"))
	b.server.interfere(nil)
	b.equal(s)
}

// The root of a copy whose source is a directory of a tree could not be listed again: the
// answer is of "/a", and one of "/a/" was expected. So --verify failed as soon as anything
// differed in the root, and a copy was not found to be the tree in which its source lies.
func TestTheRootOfADirectoryIsListedAgain(t *testing.T) {
	_, b := overHTTP(t, "a/f = x", "a/b/g = y", "c = z")
	b.config.Source += "/a"
	require.NoError(t, b.once())
	require.NoError(t, os.WriteFile(b.path("f"), []byte("!"), 0o644))
	err := Verify(t.Context(), b.config, false)
	require.Equal(t, exit.Failed, exit.Of(err), "%v", err)
}

// A cache that answered with a listing from before, and did not ask anew for no-cache, had
// what came since deleted, which came back with the next listing.
func TestAListingOfThePastDeletesNothing(t *testing.T) {
	for _, path := range []string{"/a/?txt", "/?txt"} {
		s, b := overHTTP(t, "a/1 = x", "gone = y")
		old := b.server.recorded(path)
		s.change("a/2 = new", "kept = new", "dir/3 = new")
		b.equal(s)
		s.remove("gone")
		s.change("a/4 = newer")
		b.server.replay(path, old)
		require.Error(t, b.once(), path)
		for _, name := range []string{"a/2", "kept", "dir/3"} {
			require.Equal(t, "new", b.read(name), path)
		}
		b.server.interfere(nil)
		b.equal(s)
		b.requireIdle()
	}
}

// The clock of serve was set back. A file that was rewritten then under its size and mtime has
// a ctime below the listing that its directory was completed from: it was taken for equal.
func TestAClockSetBackProvesNoBytes(t *testing.T) {
	ahead := 10 * time.Minute
	s, b := served(t, serve.Config{Now: func() mtree.Stamp { return machine.Now().Add(ahead) }}, "a/f = one @1700000000")
	b.equal(s)
	ahead = 0
	s.change("a/f = two @1700000000", "a/g = x")
	b.equal(s)
	require.Equal(t, "two", b.read("a/f"))
}

// After the clock of a copy's machine was set back, or where two serves with different clocks
// answered at one address, deletions waited for hours, and neither log nor status said so.
func TestDeletionsThatWaitForAClock(t *testing.T) {
	ahead := time.Duration(0)
	clock := func() mtree.Stamp { return machine.Now().Add(ahead) }
	s, b := served(t, serve.Config{Now: clock}, "a/1 = x", "a/2 = y")
	b.equal(s)
	ahead = -time.Hour
	s.remove("a/1")
	var log bytes.Buffer
	b.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	require.ErrorContains(t, b.once(), "its clock was set back")
	require.Equal(t, "x", b.read("a/1"))
	require.Contains(t, log.String(), "compare the clocks of all machines")
	require.Contains(t, b.status().Error, "deletions wait")

	b.at(3 * time.Second)
	b.config.Adopt = true // what the remedy says
	b.equal(s)
	require.Empty(t, b.status().Error)
}

// The clock of serve was years ahead, and was put right. Where no watcher raised the epoch
// then (serve on another machine, or alone), nothing that the source deleted was deleted in
// the copy until those years had passed.
func TestAListingOfTheFutureProvesNothing(t *testing.T) {
	s, b := overHTTP(t, "a/1 = x", "a/2 = y", "b = z", "c = w")
	ahead := func() mtree.Stamp { return machine.Now().Add(3 * 365 * 24 * time.Hour) }
	b.server.reopen(serve.Config{Root: s.root, Hidden: true, Now: ahead})
	b.equal(s)
	b.server.reopen(serve.Config{Root: s.root, Hidden: true})
	s.remove("a/1")
	s.remove("b")
	b.equal(s)
	require.NoFileExists(t, b.path("a/1"))
	require.NoFileExists(t, b.path("b"))
}

// A listing of the past in a pass that goes on where an earlier one failed: no record tells
// then when the copy's entries were listed.
func TestAListingOfThePastAfterAFailure(t *testing.T) {
	s, b := overHTTP(t, "a/1 = x")
	b.equal(s)
	old := b.server.recorded("/?txt")
	s.change("b/2 = new", "c = new")
	asked := 0
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		switch keyOf(r) {
		case "/?txt":
			if asked++; asked == 1 {
				return false
			}
			maps.Copy(w.Header(), old.Header())
			_, _ = w.Write(old.Body.Bytes())
		case "/b/?txt":
			w.WriteHeader(http.StatusNotFound)
		default:
			return false
		}
		return true
	})
	require.Error(t, b.once())
	require.Greater(t, asked, 1)
	require.Equal(t, "new", b.read("c"))
	require.DirExists(t, b.path("b"))
	b.server.interfere(nil)
	b.equal(s)
	b.requireIdle()
}

// A 200 with the ETag of another file than If-Match named was stored under the name of the
// one that was asked for, with the other's bytes and times.
func TestAFileOfAnotherName(t *testing.T) {
	s, b := overHTTP(t, "a = one", "b = two two")
	other := b.server.recorded("/b")
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a" || r.Method != http.MethodGet || r.Header.Get("If-Match") == "" {
			return r.Method == http.MethodPost
		}
		maps.Copy(w.Header(), other.Header())
		_, _ = w.Write(other.Body.Bytes())
		return true
	})
	_ = b.once() // it may ask without If-Match in the end
	require.Equal(t, "one", b.read("a"))
	b.server.interfere(nil)
	b.equal(s)
}
