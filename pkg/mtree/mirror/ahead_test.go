package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// block is a listing as it stands in an answer to ?since.
func block(path string, stamp mtree.Stamp, names ...string) string {
	l := mtree.Listing{Path: path, Stamp: stamp}
	for _, name := range names {
		l.Entries = append(l.Entries, mtree.Entry{Name: name, Kind: mtree.File, MTime: stamp})
	}
	return string(mtree.AppendListing(nil, l))
}

// All that an answer to ?since tells, its continuation included, is there
// without another question.
func TestSinceIsReadAhead(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Tidemark-Tree", "x")
		w.Header().Set("Tidemark-Epoch", "7")
		trailer := mtree.Trailer{Stamp: now}
		if !strings.Contains(r.URL.RawQuery, "after=") {
			trailer.More, trailer.After = true, "a/b c&d"
			_, _ = fmt.Fprint(w, block("", now, "a")+block("a", now, "b c&d")+block("a/b c&d", now, "f"))
		} else {
			_, _ = fmt.Fprint(w, block("a/e", now, "g", "h"))
		}
		_, _ = w.Write(mtree.AppendTrailer(nil, trailer))
	}))
	defer server.Close()
	c := Config{Source: server.URL}.withDefaults()
	s, err := openHTTP(&c)
	require.NoError(t, err)
	a, err := s.Root(t.Context(), source.Poll{Known: `"x"`, Wait: time.Second, Since: &was})
	require.NoError(t, err)
	require.False(t, a.Unchanged)
	require.Equal(t, "a", a.Entries[0].Name)
	for path, last := range map[string]string{"a": "b c&d", "a/b c&d": "f", "a/e": "h"} {
		a, err := s.List(t.Context(), path, now)
		require.NoError(t, err)
		require.Equal(t, source.Tree{"x", 7}, a.Tree, path)
		require.Equal(t, last, a.Entries[len(a.Entries)-1].Name)
	}
	require.Equal(t, []string{"txt&since=1000.000000000&wait=1", "txt&since=1000.000000000&after=a/b%20c%26d"}, asked)
	_, err = s.List(t.Context(), "a", now) // once, not twice
	require.Error(t, err)
	require.Len(t, asked, 3)
}

// What is older than asked for, or no listing, is not taken; a cut answer is an
// error, and so is one that does not begin with the root.
func TestAheadIsStrict(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	var h ahead
	h.keep(t.Context(), "bad", []byte("no listing\n"))
	h.keep(t.Context(), "old", []byte(block("old", was)))
	for _, path := range []string{"old", "bad", "none"} {
		_, ok := h.take(t.Context(), path, now)
		require.False(t, ok, path)
	}
	text := block("", now, "a") + block("a", now, "b", "c") + block("d", now)
	read := func(text string) error {
		r := newSinceReader(strings.NewReader(text), &room{turn: newLargeTurn(defaultLargeRoom)})
		_, _, err := r.root()
		return errors.Join(err, r.read(t.Context(), &ahead{}))
	}
	ends := map[int]bool{len(block("", now, "a")): true, len(text) - len(block("d", now)): true, len(text): true}
	for cut := range len(text) + 1 {
		require.Equal(t, ends[cut], read(text[:cut]) == nil, cut)
	}
	require.ErrorIs(t, read(strings.Repeat("x", 128<<10)+"\n"), mtree.ErrListing)
	require.ErrorIs(t, read(block("a", now)), mtree.ErrListing)
}

// Who asks for a listing that may still come waits for it, and for none that
// does not come any more.
func TestAheadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h ahead
		h.open(&stream{})
		got := map[string]bool{}
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		for _, path := range []string{"a", "a/b", "a/c", "b", "x", "y"} {
			go func() {
				context := ctx
				if path != "y" {
					context = t.Context()
				}
				_, ok := h.take(context, path, mtree.Stamp{})
				mu.Lock()
				defer mu.Unlock()
				got[path] = ok
			}()
		}
		answered := func() int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return len(got)
		}
		require.Zero(t, answered())
		h.keep(ctx, "a", []byte(block("a", mtree.Stamp{})))
		require.Equal(t, 1, answered())
		h.keep(ctx, "a/c", []byte(block("a/c", mtree.Stamp{}))) // a/b is passed over
		require.Equal(t, 3, answered())
		h.keep(ctx, "b", []byte(block("b", mtree.Stamp{})))
		require.Equal(t, 4, answered())
		cancel()
		require.Equal(t, 5, answered())
		h.close()
		require.Equal(t, 6, answered())
		require.Equal(t, map[string]bool{"a": true, "a/b": false, "a/c": true, "b": true, "x": false, "y": false}, got)
	})
}

// An answer is read no faster than it is used, and what nobody takes does not
// keep back what is waited for.
func TestAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h ahead
		ctx, stop := context.WithCancel(t.Context())
		one := &stream{stop: stop, ended: make(chan struct{})}
		h.open(one)
		size := keptAhead / 4
		come := make(chan string, 9)
		go func() {
			defer close(one.ended)
			for _, path := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
				h.keep(ctx, path, make([]byte, size))
				come <- path
			}
		}()
		for _, path := range []string{"a", "b", "c", "d"} {
			require.Equal(t, path, <-come)
		}
		synctest.Wait()
		require.Empty(t, come)
		require.Equal(t, keptAhead, h.bytes)
		_, ok := h.takeText(t.Context(), "b")
		require.True(t, ok)
		require.Equal(t, "e", <-come)
		synctest.Wait()
		require.Len(t, h.texts, 4)
		taken := make(chan bool)
		go func() {
			_, ok := h.takeText(t.Context(), "g")
			taken <- ok
		}()
		require.Equal(t, "f", <-come)
		require.Equal(t, "g", <-come)
		require.True(t, <-taken)
		require.Equal(t, "h", <-come)
		synctest.Wait()
		require.ElementsMatch(t, []string{"d", "e", "f", "h"}, slices.Collect(maps.Keys(h.texts)), "not what came first")
		require.Empty(t, come)
		h.clear() // ends the reading
		require.Equal(t, "i", <-come)
		require.Empty(t, h.texts)
		require.Zero(t, h.bytes)
	})
}
