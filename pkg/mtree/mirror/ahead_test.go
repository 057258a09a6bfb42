package mirror

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
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
	a, err := s.list(t.Context(), ask{known: `"x"`, wait: time.Second, since: &was})
	require.NoError(t, err)
	require.False(t, a.unchanged)
	require.Equal(t, "a", a.listing.Entries[0].Name)
	for path, last := range map[string]string{"a": "b c&d", "a/b c&d": "f", "a/e": "h"} {
		a, err := s.list(t.Context(), ask{path: path, least: now})
		require.NoError(t, err)
		require.True(t, a.ahead, path)
		require.Equal(t, last, a.listing.Entries[len(a.listing.Entries)-1].Name)
	}
	require.Equal(t, []string{"txt&since=1000.000000000&wait=1", "txt&since=1000.000000000&after=a/b%20c%26d"}, asked)
	_, err = s.list(t.Context(), ask{path: "a", least: now}) // once, not twice
	require.Error(t, err)
	require.Len(t, asked, 3)
}

// What is older than asked for, or no listing, is not taken; more than there is
// room for is passed over; a cut answer is an error.
func TestAheadIsBoundedAndStrict(t *testing.T) {
	was, now := mtree.Unix(1_000, 0), mtree.Unix(2_000, 5)
	var h ahead
	h.keep("old", []byte(block("old", was)))
	h.keep("bad", []byte("no listing\n"))
	for _, path := range []string{"old", "bad", "none"} {
		_, ok := h.take(&ask{path: path, least: now})
		require.False(t, ok, path)
	}
	text := block("", now, "a") + block("a", now, "b", "c") + block("d", now)
	read := func(text string, h *ahead) (a answer, err error) {
		a.unchanged = true
		return a, newSinceReader(strings.NewReader(text)).read(&a, h)
	}
	full := ahead{bytes: keptAhead - len(block("d", now))}
	_, err := read(text, &full)
	require.NoError(t, err)
	require.Len(t, full.texts, 1)
	require.Contains(t, full.texts, "d")
	ends := map[int]bool{0: true, len(block("", now, "a")): true, len(text) - len(block("d", now)): true}
	for cut := range len(text) {
		_, err := read(text[:cut], &ahead{})
		require.Equal(t, ends[cut], err == nil, cut)
	}
	_, err = read(strings.Repeat("x", 2*maxLine)+"\n", &ahead{})
	require.ErrorIs(t, err, mtree.ErrListing)
}
