package prefetch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// anyRoom says that there is room for every listing.
func anyRoom(int) error { return nil }

// block is a listing as it stands in an answer to ?since.
func block(path string, stamp mtree.Stamp, names ...string) string {
	l := mtree.Listing{Path: path, Stamp: stamp}
	for _, name := range names {
		l.Entries = append(l.Entries, mtree.Entry{Name: name, Kind: mtree.File, MTime: stamp})
	}
	return string(mtree.AppendListing(nil, l))
}

// What is older than asked for, or no listing, is not taken; a cut answer is an
// error, and so is one that does not begin with the root.
func TestReaderAndStoreAreStrict(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	var s Store
	s.keep(t.Context(), "bad", []byte("no listing\n"))
	s.keep(t.Context(), "old", []byte(block("old", was)))
	for _, path := range []string{"old", "bad", "none"} {
		_, ok := s.Take(t.Context(), path, now)
		require.False(t, ok, path)
	}
	text := block("", now, "a") + block("a", now, "b", "c") + block("d", now)
	read := func(text string) error {
		r := NewReader(strings.NewReader(text), false, anyRoom)
		_, _, err := r.Root()
		return errors.Join(err, r.Read(t.Context(), &Store{}))
	}
	ends := map[int]bool{len(block("", now, "a")): true, len(text) - len(block("d", now)): true, len(text): true}
	for cut := range len(text) + 1 {
		require.Equal(t, ends[cut], read(text[:cut]) == nil, cut)
	}
	require.ErrorIs(t, read(strings.Repeat("x", 128<<10)+"\n"), mtree.ErrListing)
	require.ErrorIs(t, read(block("a", now)), mtree.ErrListing)
}

// An empty 200 to ?since, or one of which only the beginning came, was taken for
// "nothing changed".
func TestNothingIsNoAnswerToSince(t *testing.T) {
	for _, text := range []string{"", "\n", "# a comment\n", "#stamp"} {
		_, _, err := NewReader(strings.NewReader(text), false, anyRoom).Root()
		require.ErrorIs(t, err, mtree.ErrListing, "%q", text)
	}
	_, changed, err := NewReader(strings.NewReader("#stamp 5.000000000\n"), false, anyRoom).Root()
	require.NoError(t, err)
	require.False(t, changed)
}

// Who asks for a listing that may still come waits for it, and for none that
// does not come any more.
func TestTakeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Store
		done := s.Open(&source.Dir{}, false, nil)
		got := map[string]bool{}
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		for _, path := range []string{"a", "a/b", "a/c", "b", "x", "y"} {
			go func() {
				context := ctx
				if path != "y" {
					context = t.Context()
				}
				_, ok := s.Take(context, path, mtree.Stamp{})
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
		s.keep(ctx, "a", []byte(block("a", mtree.Stamp{})))
		require.Equal(t, 1, answered())
		s.keep(ctx, "a/c", []byte(block("a/c", mtree.Stamp{}))) // a/b is passed over
		require.Equal(t, 3, answered())
		s.keep(ctx, "b", []byte(block("b", mtree.Stamp{})))
		require.Equal(t, 4, answered())
		cancel()
		require.Equal(t, 5, answered())
		done()
		require.Equal(t, 6, answered())
		require.Equal(t, map[string]bool{"a": true, "a/b": false, "a/c": true, "b": true, "x": false, "y": false}, got)
	})
}

// An answer is read no faster than it is used, and what nobody takes does not
// keep back what is waited for.
func TestStoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Store
		ctx, stop := context.WithCancel(t.Context())
		done := s.Open(&source.Dir{}, false, stop)
		size := MaxKept / 4
		come := make(chan string, 9)
		go func() {
			defer done()
			for _, path := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
				s.keep(ctx, path, make([]byte, size))
				come <- path
			}
		}()
		for _, path := range []string{"a", "b", "c", "d"} {
			require.Equal(t, path, <-come)
		}
		synctest.Wait()
		require.Empty(t, come)
		require.Equal(t, MaxKept, s.bytes)
		_, _, _, ok := s.take(t.Context(), "b")
		require.True(t, ok)
		require.Equal(t, "e", <-come)
		synctest.Wait()
		require.Len(t, s.texts, 4)
		taken := make(chan bool)
		go func() {
			_, _, _, ok := s.take(t.Context(), "g")
			taken <- ok
		}()
		require.Equal(t, "f", <-come)
		require.Equal(t, "g", <-come)
		require.True(t, <-taken)
		require.Equal(t, "h", <-come)
		synctest.Wait()
		require.ElementsMatch(t, []string{"d", "e", "f", "h"}, slices.Collect(maps.Keys(s.texts)), "not what came first")
		require.Empty(t, come)
		s.Clear() // ends the reading
		require.Equal(t, "i", <-come)
		require.Empty(t, s.texts)
		require.Zero(t, s.bytes)
	})
}
