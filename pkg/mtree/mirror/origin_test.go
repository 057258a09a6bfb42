package mirror

import (
	"crypto/sha256"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// eachOrigin runs a test with the same tree read from a directory and from serve.
func eachOrigin(t *testing.T, lines []string, test func(t *testing.T, s *tree, src origin)) {
	for _, kind := range []string{"directory", "server"} {
		t.Run(kind, func(t *testing.T) {
			s := watched(t, lines...)
			b := newBench(t, s.root)
			if kind == "server" {
				b = s.benchOverHTTP()
			}
			c := b.config.withDefaults()
			src, err := openSource(&c)
			require.NoError(t, err)
			t.Cleanup(src.Close)
			test(t, s, src)
		})
	}
}

// wantedOf lists a directory and returns its files, to be fetched.
func wantedOf(t *testing.T, src origin, path string) (want []source.Wanted) {
	d, err := src.List(t.Context(), path, mtree.Stamp{})
	require.NoError(t, err)
	for i := range d.Entries {
		if e := &d.Entries[i]; e.Kind == mtree.File {
			want = append(want, source.Wanted{Entry: e, Path: mtree.JoinPath(path, e.Name), Approx: d.Approx})
		}
	}
	return want
}

// fetchAll reads files as their caller does: the last time that each is yielded counts.
func fetchAll(t *testing.T, src origin, want []source.Wanted) (texts map[string]string, errs map[string]error) {
	texts, errs = map[string]string{}, map[string]error{}
	for i, f := range src.Fetch(t.Context(), want) {
		path, err := want[i].Path, f.Err
		if delete(texts, path); err == nil {
			var text []byte
			if text, err = io.ReadAll(f.Body); err == nil {
				texts[path] = string(text)
			}
		}
		errs[path] = err
	}
	return texts, errs
}

// Both kinds of source answer the same questions in the same way.
func TestOriginsAnswerAlike(t *testing.T) {
	lines := []string{"a/b/f = deep", "a/g = one", "a/h = two", "a/link -> g", "empty/", "top = x"}
	eachOrigin(t, lines, func(t *testing.T, s *tree, src origin) {
		root, err := src.Root(t.Context(), source.Poll{})
		require.NoError(t, err)
		require.Equal(t, source.Tree{ID: s.id.ID, Epoch: 1}, root.Tree)
		require.True(t, root.State.Prunes())
		require.False(t, root.OtherServer)
		require.Equal(t, "/", root.TreePath)
		require.Len(t, root.Entries, 3)
		again, err := src.Root(t.Context(), source.Poll{Known: root.Validator})
		require.NoError(t, err)
		require.True(t, again.Unchanged)
		require.Equal(t, root.Validator, again.Validator)

		d, err := src.List(t.Context(), "a", root.Entries[0].MTime)
		require.NoError(t, err)
		require.Equal(t, root.Tree, d.Tree)
		require.Equal(t, root.Entries[0].MTime, d.Stamp)
		require.Len(t, d.Entries, 4)
		require.Nil(t, d.Approx)
		_, err = src.List(t.Context(), "none", mtree.Stamp{})
		require.ErrorIs(t, err, source.ErrGone)

		sums, err := src.Sums(t.Context(), []string{"a/g", "a/none", "top"})
		require.NoError(t, err)
		require.Len(t, sums, 2)
		require.Equal(t, source.Digest(sha256.Sum256([]byte("one"))), sums["a/g"].SHA256)

		s.change("top = changed")
		changed, err := src.Root(t.Context(), source.Poll{Known: root.Validator})
		require.NoError(t, err)
		require.False(t, changed.Unchanged)
		require.True(t, changed.Stamp.After(root.Stamp))
	})
}

// Each file comes, or its error, whatever happened to the others.
func TestOriginsGiveEachFileOrItsError(t *testing.T) {
	large := strings.Repeat("large-", 300_000)
	eachOrigin(t, []string{"d/a = one", "d/b = two", "d/c = three", "d/d = x", "d/e = "}, func(t *testing.T, s *tree, src origin) {
		s.change("d/large = " + large)
		want := wantedOf(t, src, "d")
		require.Len(t, want, 6)
		texts, errs := fetchAll(t, src, want)
		require.True(t, texts["d/large"] == large)
		delete(texts, "d/large")
		require.Equal(t, map[string]string{"d/a": "one", "d/b": "two", "d/c": "three", "d/d": "x", "d/e": ""}, texts)
		for path, err := range errs {
			require.NoError(t, err, path)
		}
		s.remove("d/b")
		s.change("d/c = other bytes")
		texts, errs = fetchAll(t, src, want)
		require.ErrorIs(t, errs["d/b"], source.ErrGone)
		require.NotContains(t, texts, "d/b")
		require.Equal(t, "other bytes", texts["d/c"], "what is there now")
		require.Equal(t, "one", texts["d/a"])
		require.Len(t, errs, 6)
	})
}

// A caller that stops early, or does not read a file to its end, does no harm: the source
// answers the next request.
func TestOriginsCanBeLeft(t *testing.T) {
	eachOrigin(t, []string{"d/a = one", "d/b = two", "d/c = three"}, func(t *testing.T, s *tree, src origin) {
		open := func() int {
			names, err := os.ReadDir("/proc/self/fd")
			require.NoError(t, err)
			return len(names)
		}
		want := wantedOf(t, src, "d")
		_, _ = fetchAll(t, src, want) // so that connections are open
		before := open()
		for i := range 20 {
			yields := 0
			for _, f := range src.Fetch(t.Context(), want) {
				require.NoError(t, f.Err)
				_, _ = f.Body.Read(make([]byte, 1))
				if yields++; yields > i%3 {
					break
				}
			}
		}
		require.True(t, assertEventually(func() bool { return open() <= before+2 }), "%d, %d before", open(), before)
		times := map[int]int{}
		for i, f := range src.Fetch(t.Context(), want) {
			require.NoError(t, f.Err)
			times[i]++ // and reads nothing: its own disk is full
		}
		require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1}, times)
		texts, _ := fetchAll(t, src, want)
		require.Len(t, texts, 3)
	})
}

// A file that is replaced while it is read does not arrive as a mixture: it comes again.
func TestOriginsGiveNoMixture(t *testing.T) {
	eachOrigin(t, []string{"d/f = x"}, func(t *testing.T, s *tree, src origin) {
		const size = 16 << 20 // more than connections buffer
		s.change("d/f = " + strings.Repeat("a", size))
		want := wantedOf(t, src, "d")
		times, last := 0, ""
		for _, f := range src.Fetch(t.Context(), want) {
			require.NoError(t, f.Err)
			head := make([]byte, 1)
			_, err := io.ReadFull(f.Body, head)
			require.NoError(t, err)
			if times++; times == 1 {
				text := strings.Repeat("b", size)
				require.NoError(t, os.WriteFile(s.path("d/f"), []byte(text), 0o644)) // in place
				require.NoError(t, os.Chtimes(s.path("d/f"), time.Time{}, time.Unix(1_800_000_000, 0)))
			}
			rest, err := io.ReadAll(f.Body)
			if last = ""; err == nil {
				last = string(head) + string(rest)
			}
		}
		require.Len(t, last, size)
		require.Equal(t, size, strings.Count(last, last[:1]), "all of one version")
	})
}
