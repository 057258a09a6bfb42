package serve_test

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
)

// changes reads an answer to ?since.
func changes(t *testing.T, body string) (paths []string, trailer mtree.Trailer) {
	t.Helper()
	d := mtree.NewDecoder(strings.NewReader(body))
	for {
		l, err := d.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err, body)
		paths = append(paths, l.Path)
	}
	trailer, ok := d.Trailer()
	require.True(t, ok, body)
	return paths, trailer
}

// deep is a tree in which a/b was stamped last, c before it.
func deep(t *testing.T) (s *site, old, mid, new mtree.Stamp) {
	s = publishWatched(t, serve.Config{Root: inMemory(t), Stats: &serve.Stats{}}, map[string]string{
		"a/b/x": "1", "a/b2/x": "1", "a b/&+/x": "1", "c/d/x": "1", "e/x": "1",
	})
	old = mtree.FromTime(past)
	mid, new = old.Add(time.Second), old.Add(2*time.Second)
	for _, dir := range []string{"c", "c/d", "a b", "a b/&+"} {
		s.stamp(dir, mid)
	}
	for _, dir := range []string{"", "a", "a/b"} {
		s.stamp(dir, new)
	}
	return s, old, mid, new
}

// since: one whole listing for each directory whose stamp is above STAMP,
// parents first, then #stamp with the root's.
func TestSince(t *testing.T) {
	s, old, mid, new := deep(t)
	for _, test := range []struct {
		from mtree.Stamp
		want []string
	}{
		{old.Add(-1), []string{"", "a", "a/b", "a/b2", "a b", "a b/&+", "c", "c/d", "e"}},
		{old, []string{"", "a", "a/b", "a b", "a b/&+", "c", "c/d"}},
		{mid, []string{"", "a", "a/b"}},
		{new, nil},
	} {
		a := s.get("/?txt&since=" + test.from.String())
		require.Equal(t, 200, a.StatusCode, a.body)
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		paths, trailer := changes(t, a.body)
		require.ElementsMatch(t, test.want, paths)
		require.Equal(t, mtree.Trailer{Stamp: new}, trailer)
	}
	paths, _ := changes(t, s.get("/a/?txt&since="+mid.String()).body)
	require.Equal(t, []string{"", "b"}, paths, "paths are relative to the directory asked")
}

// since: after=PATH continues after PATH, in the same order.
func TestSinceAfter(t *testing.T) {
	s, old, _, _ := deep(t)
	whole, _ := changes(t, s.get("/?txt&since="+old.Add(-1).String()).body)
	for i, path := range whole[1:] {
		target := "/?txt&since=" + old.Add(-1).String() + "&after=" + strings.ReplaceAll(url.PathEscape(path), "&", "%26")
		rest, _ := changes(t, s.get(target).body)
		require.Equal(t, append([]string(nil), whole[i+2:]...), append([]string(nil), rest...), "after %q", path)
	}
}

// since: an answer that grows too long is cut, and the next one continues.
func TestSinceIsCut(t *testing.T) {
	s := publishWatched(t, serve.Config{Root: inMemory(t)}, nil)
	want := []string{""}
	for d := range 4 {
		dir := fmt.Sprint(d)
		require.NoError(t, os.Mkdir(s.path(dir), 0o755))
		for i := range 5000 {
			name := dir + "/" + strings.Repeat("\xff", 240) + fmt.Sprint(i)
			require.NoError(t, os.Symlink("x", s.path(name)))
		}
		want = append(want, dir)
	}
	var got []string
	target := "/?txt&since=0"
	for {
		a := s.get(target)
		paths, trailer := changes(t, a.body)
		require.Less(t, len(a.body), 12<<20)
		got = append(got, paths...)
		if !trailer.More {
			break
		}
		require.NotEmpty(t, paths)
		target = "/?txt&since=0&after=" + mtree.EscapeName(trailer.After)
	}
	require.Equal(t, want, got)
}

// since: STAMP above the root's, another epoch, or stamps that prove nothing:
// 410.
func TestSinceIsGone(t *testing.T) {
	s, old, _, new := deep(t)
	other := `"` + old.String() + `-txt-000000"`
	require.Equal(t, 410, s.get("/?txt&since="+new.Add(1).String()).StatusCode)
	require.Equal(t, 410, s.get("/?txt&epoch=6&since="+old.String()).StatusCode)
	require.Equal(t, 410, s.get("/?txt&since="+old.String(), "If-None-Match", other).StatusCode)
	require.Equal(t, 200, s.get("/?txt&epoch=7&since="+old.String()).StatusCode)
	require.Equal(t, 200, s.get("/?txt&since="+old.String(), "If-None-Match", s.get("/?txt").Header.Get("ETag")).StatusCode)
	require.Equal(t, 400, s.get("/?txt&since=yesterday").StatusCode)
	require.Equal(t, 400, s.get("/?txt&since=1&after=..").StatusCode)
	require.Equal(t, 410, publish(t, serve.Config{}, nil).get("/?txt&since=1").StatusCode)
}

// since with wait: held while the root has that stamp.
func TestSinceWaits(t *testing.T) {
	s, _, _, new := deep(t)
	tag := s.get("/?txt").Header.Get("ETag")
	require.Equal(t, 304, s.get("/?txt&wait=0.02&since="+new.String(), "If-None-Match", tag).StatusCode)
	require.Equal(t, "#stamp "+new.String()+"\n", s.get("/?txt&wait=0.02&since="+new.String()).body, "a 304 answers no unconditional request")
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=40&since=" + new.String()) }()
	s.waiting(1)
	s.stamp("e", new.Add(1))
	s.stamp("", new.Add(1))
	paths, trailer := changes(t, (<-done).body)
	require.Equal(t, []string{"", "e"}, paths)
	require.Equal(t, new.Add(1), trailer.Stamp)
}

// since with wait: stamps of another epoch or tree are answered at once; if an epoch begins
// during the wait, that is answered at its end: a 304 would confirm what is gone.
func TestSinceWaitsForNoOtherEpoch(t *testing.T) {
	s, _, _, new := deep(t)
	other := `"` + new.String() + `-txt-000000"`
	begun := time.Now()
	require.Equal(t, 410, s.get("/?txt&wait=5&since="+new.String(), "If-None-Match", other).StatusCode)
	require.Equal(t, 410, s.get("/?txt&wait=5&epoch=6&since="+new.String()).StatusCode)
	require.Less(t, time.Since(begun), 5*time.Second)

	tag := s.get("/?txt").Header.Get("ETag")
	done := make(chan answer)
	go func() { done <- s.get("/?txt&wait=1&since="+new.String(), "If-None-Match", tag) }()
	s.waiting(1)
	s.alterTree(func(tree *state.Tree) { tree.Epoch++ })
	require.Equal(t, 410, (<-done).StatusCode)
}
