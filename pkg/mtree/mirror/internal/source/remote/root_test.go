package remote

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// All that an answer to ?since tells, its continuation included, is there
// without another question.
func TestSinceIsPrefetched(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	var asked []string
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Tidemark-Tree", strings.Repeat("0a", 16))
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
	s, err := Open(Config{URL: server.URL})
	require.NoError(t, err)
	defer s.Close()
	a, err := s.Root(t.Context(), source.Poll{Known: `"x"`, Wait: time.Second, Since: &was})
	require.NoError(t, err)
	require.False(t, a.Unchanged)
	require.Equal(t, "a", a.Entries[0].Name)
	for path, last := range map[string]string{"a": "b c&d", "a/b c&d": "f", "a/e": "h"} {
		a, err := s.List(t.Context(), path, now)
		require.NoError(t, err)
		require.Equal(t, source.Tree{ID: strings.Repeat("0a", 16), Epoch: 7}, a.Tree, path)
		require.Equal(t, last, a.Entries[len(a.Entries)-1].Name)
	}
	require.Equal(t, []string{"txt&since=1000.000000000&wait=1", "txt&since=1000.000000000&after=a/b%20c%26d"}, asked)
	_, err = s.List(t.Context(), "a", now) // once, not twice
	require.Error(t, err)
	require.Len(t, asked, 3)
}

// A root that is listed later with an earlier `now` comes from a cache; but not if the
// server's clock was ahead of ours then: it was put right.
func TestARootOfThePast(t *testing.T) {
	ours := mtree.FromTime(time.Now())
	for ahead, past := range map[time.Duration]bool{0: true, 1000 * time.Hour: false} {
		now := ours.Add(ahead)
		server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(mtree.AppendListing(nil, mtree.Listing{Stamp: now, Now: now, HasNow: true}))
		}))
		s, err := Open(Config{URL: server.URL})
		require.NoError(t, err)
		root, err := s.Root(t.Context(), source.Poll{})
		require.NoError(t, err)
		require.False(t, root.Past)
		now = ours.Add(-time.Second)
		root, err = s.Root(t.Context(), source.Poll{})
		require.NoError(t, err)
		require.Equal(t, past, root.Past, "the clock was ahead by %s", ahead)
		s.Close()
		server.Close()
	}
}

// A cache gave the same answer to each poll: the copy counted as confirmed all the time, while
// its source had changed.
func TestAnAnswerThatCameBefore(t *testing.T) {
	now := mtree.Unix(2_000, 0)
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(wire.HeaderVersion, "1")
		w.Header().Set(wire.HeaderNow, now.String())
		w.WriteHeader(http.StatusNotModified)
	}))
	defer server.Close()
	s, err := Open(Config{URL: server.URL})
	require.NoError(t, err)
	defer s.Close()
	ask := func() bool {
		root, err := s.Root(t.Context(), source.Poll{Known: `"x"`, Wait: time.Second, Since: &mtree.Stamp{}})
		require.NoError(t, err)
		require.True(t, root.Unchanged)
		return root.Repeated
	}
	require.False(t, ask())
	require.True(t, ask())
	now = mtree.Unix(2_000, 1)
	require.False(t, ask())
}

// An answer to ?since was cut, and another serve continued it: what that one left out would
// have been taken for what the first one lists.
func TestAnotherServeInMidAnswer(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	tags := []string{`W/"2000.000000005-txt-aaaaaa"`, `W/"2000.000000005-txt-bbbbbb"`}
	var asked []string
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		trailer := mtree.Trailer{Stamp: now}
		switch {
		case r.URL.Path != "/":
			w.Header().Set("ETag", tags[1])
			_, _ = fmt.Fprint(w, block("", now, "asked"))
			return
		case strings.Contains(r.URL.RawQuery, "after="):
			w.Header().Set("ETag", tags[1])
			_, _ = fmt.Fprint(w, block("b", now, "came along"))
		default:
			w.Header().Set("ETag", tags[0])
			trailer.More, trailer.After = true, "a"
			_, _ = fmt.Fprint(w, block("", now, "a", "b")+block("a", now, "f"))
		}
		_, _ = w.Write(mtree.AppendTrailer(nil, trailer))
	}))
	defer server.Close()
	s, err := Open(Config{URL: server.URL})
	require.NoError(t, err)
	defer s.Close()
	root, err := s.Root(t.Context(), source.Poll{Known: `"x"`, Wait: time.Second, Since: &was})
	require.NoError(t, err)
	require.Equal(t, "aaaaaa", root.Fingerprint)
	a, err := s.List(t.Context(), "a", now)
	require.NoError(t, err)
	require.Equal(t, "aaaaaa", a.Fingerprint)
	b, err := s.List(t.Context(), "b", now)
	require.NoError(t, err)
	require.Equal(t, "asked", b.Entries[0].Name)
	require.Equal(t, "bbbbbb", b.Fingerprint)
}

// block is a listing as it stands in an answer to ?since.
func block(path string, stamp mtree.Stamp, names ...string) string {
	l := mtree.Listing{Path: path, Stamp: stamp}
	for _, name := range names {
		l.Entries = append(l.Entries, mtree.Entry{Name: name, Kind: mtree.File, MTime: stamp})
	}
	return string(mtree.AppendListing(nil, l))
}

// Parts of listings come where they were asked for, and each is taken once: who cannot use it asks
// for the whole. Whoever asked for none refuses them.
func TestPartsAreAskedFor(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	part := func(path string) string {
		return string(mtree.FormatListing(mtree.Listing{Path: path, Stamp: now, Part: []mtree.Span{{From: was, To: was}}, Gone: []string{"g"}}))
	}
	var asked requests
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.add(r.URL.RequestURI())
		w.Header().Set("Tidemark-Options", "aaaaaa")
		trailer := mtree.Trailer{Stamp: now}
		switch {
		case !strings.Contains(r.URL.RawQuery, "since="):
			_, _ = fmt.Fprint(w, block("", now, "whole"))
			return
		case !strings.Contains(r.URL.RawQuery, "after="):
			trailer.More, trailer.After = true, "a"
			_, _ = fmt.Fprint(w, part(""), part("a"))
		default:
			_, _ = fmt.Fprint(w, part("b"), block("c", now, "f"))
		}
		_, _ = w.Write(mtree.AppendTrailer(nil, trailer))
	}))
	defer server.Close()
	s, err := Open(Config{URL: server.URL})
	require.NoError(t, err)
	defer s.Close()
	poll := source.Poll{Known: `"x"`, Wait: time.Second, Since: &was, Parts: true}
	root, err := s.Root(t.Context(), poll)
	require.NoError(t, err)
	require.True(t, root.IsPart() && root.Direct)
	require.Equal(t, "aaaaaa", root.Fingerprint)
	for _, path := range []string{"a", "b", "c"} {
		l, err := s.List(t.Context(), path, now)
		require.NoError(t, err)
		require.Equal(t, path != "c", l.IsPart(), path)
		require.True(t, l.Direct)
	}
	l, err := s.List(t.Context(), "a", now)
	require.NoError(t, err)
	require.Equal(t, "whole", l.Entries[0].Name)
	require.False(t, l.Direct, "a cache may have it")
	require.Equal(t, []string{"/?txt&since=1000.000000000&part=1&wait=1", "/?txt&since=1000.000000000&part=1&after=a", "/a/?txt"}, asked.all())

	poll.Parts = false
	_, err = s.Root(t.Context(), poll)
	require.ErrorIs(t, err, mtree.ErrListing)
	require.Contains(t, asked.all()[3:], "/?txt&since=1000.000000000&wait=1")
}

// A listing that is later than its parent lists may come from a cache, and somebody may have set
// its stamp ahead: it is asked for once more, past every cache. So is an earlier one. nginx's cache
// answered that, too, and a copy behind it stayed as it was: no URL is asked for twice.
func TestALaterListingComesPastCaches(t *testing.T) {
	now := mtree.Unix(2_000, 5)
	for name, c := range map[string]struct {
		stamps []mtree.Stamp
		asked  int
		direct bool
		past   bool
	}{
		"as listed":           {stamps: []mtree.Stamp{now}, asked: 1},
		"later":               {stamps: []mtree.Stamp{now.Add(1), now.Add(2)}, asked: 2, direct: true},
		"later, out of cache": {stamps: []mtree.Stamp{now.Add(1), now}, asked: 2, direct: true},
		"earlier":             {stamps: []mtree.Stamp{now.Add(-1), now.Add(-1)}, asked: 2, direct: true, past: true},
	} {
		var asked requests
		urls := map[string]bool{}
		server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := asked.add(r.Header.Get("Cache-Control"))
			urls[r.URL.String()] = true
			_, _ = fmt.Fprint(w, block("", c.stamps[n-1]))
		}))
		s, err := Open(Config{URL: server.URL})
		require.NoError(t, err)
		l, err := s.List(t.Context(), "a", now)
		require.NoError(t, err, name)
		require.Equal(t, c.stamps[len(c.stamps)-1], l.Stamp, name)
		require.Equal(t, c.direct, l.Direct, name)
		require.Equal(t, c.past, l.Past, name)
		require.Equal(t, []string{"", "no-cache"}[:c.asked], asked.all(), name)
		require.Len(t, urls, c.asked, name)
		s.Close()
		server.Close()
	}
}

// requests are what a server was asked for.
type requests struct {
	mu  sync.Mutex
	are []string
}

// add adds one, and returns how many there are.
func (r *requests) add(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.are = append(r.are, what)
	return len(r.are)
}

func (r *requests) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.are)
}

// What changed in a directory is asked for past every cache. Nothing told, or not yet, is
// no part; a whole listing, another directory and a server that refuses are errors.
func TestPart(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	l := mtree.Listing{Stamp: now, ID: "0123456789abcdef", Part: []mtree.Span{{From: was, To: was}}, Entries: []mtree.Entry{{Name: "f", Kind: mtree.File, MTime: now}}, Gone: []string{"g"}}
	part, end := string(mtree.AppendListing(nil, l)), string(mtree.AppendTrailer(nil, mtree.Trailer{Stamp: now}))
	for name, test := range map[string]struct {
		text, path string
		status     int
		err        error
		fails      bool
	}{
		"a part":            {text: part + end},
		"others below it":   {text: part + block("b", now, "f") + end},
		"nothing":           {text: end, err: source.ErrNoPart},
		"the whole":         {text: block("", now, "f") + end, err: source.ErrWhole},
		"cut":               {text: part[:len(part)-10], fails: true},
		"of another":        {text: part + end, path: "/c", err: mtree.ErrListing},
		"no listing":        {text: "<html>\n", fails: true},
		"it is gone":        {status: http.StatusNotFound, fails: true},
		"another beginning": {text: block("b", now, "f") + end, err: source.ErrNoPart},
	} {
		var asked []string
		server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path+"?"+r.URL.RawQuery)
			h := w.Header()
			h.Set("Tidemark-Tree", strings.Repeat("0a", 16))
			h.Set("Tidemark-Epoch", "7")
			h.Set("Tidemark-Options", "e1")
			if h.Set("Tidemark-Path", "/a"); test.path != "" {
				h.Set("Tidemark-Path", test.path)
			}
			if test.status != 0 {
				w.WriteHeader(test.status)
			}
			_, _ = fmt.Fprint(w, test.text)
		}))
		s, err := Open(Config{URL: server.URL})
		require.NoError(t, err)
		root := "/"
		s.treePath.Store(&root)
		got, err := s.Part(t.Context(), "a", was)
		switch {
		case test.err != nil:
			require.ErrorIs(t, err, test.err, name)
		case test.fails:
			require.Error(t, err, name)
		default:
			require.NoError(t, err, name)
			require.Equal(t, source.Dir{Listing: l, Tree: source.Tree{ID: strings.Repeat("0a", 16), Epoch: 7}, Fingerprint: "e1", Direct: true}, got, name)
		}
		require.Len(t, asked, 1, name)
		require.Regexp(t, `^/a/\?txt&since=1000\.000000000&part=1&fresh=[0-9a-z]+$`, asked[0], name)
		s.other.Store(true)
		_, err = s.Part(t.Context(), "a", was)
		require.ErrorIs(t, err, source.ErrWhole, name)
		s.Close()
		server.Close()
	}
}
