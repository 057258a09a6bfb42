package changed

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
)

// newWalk returns a walk of a tree that has the directory a/b.
func newWalk(t *testing.T) *Walk {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(root+"/a/b", 0o755))
	return walkOf(t, root)
}

func walkOf(t *testing.T, root string) *Walk {
	tree, err := published.Open(published.Config{Root: root, Exclude: &glob.List{}, Now: machine.Now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tree.Close() })
	return NewWalk(readerOf(tree), Question{Snap: tree.Now()}, nil)
}

// An answer to ?since has two listings in memory at once, but one of a large directory: what is read
// ahead counts nowhere, so a listing that would count is not kept, however small its directory is.
func TestLargeDirectoriesAreNotReadAhead(t *testing.T) {
	walk := newWalk(t)
	for _, size := range []int64{walk.reader.LargeSize, -1} {
		walk.reader.LargeSize = size
		ahead := walk.prefetch("a")
		ahead.wait()
		require.Equal(t, size < 0, ahead.err == errLarge)
		page, err := walk.take("a", ahead)
		require.NoError(t, err)
		require.Len(t, page.Below, 1)
	}
	root := t.TempDir()
	walk = walkOf(t, root)
	for name, make := range map[string]func(path string, i int) error{
		"wide":  func(path string, i int) error { return os.WriteFile(path, nil, 0o644) },
		"links": func(path string, i int) error { return os.Symlink(strings.Repeat("x/", 2000), path) },
	} {
		dir := root + "/" + name
		require.NoError(t, os.Mkdir(dir, 0o755))
		for i := range map[string]int{"wide": 1000, "links": 20}[name] {
			require.NoError(t, make(fmt.Sprintf("%s/%040d", dir, i), i))
		}
		listings := walk.reader.Listings.Load()
		ahead := walk.prefetch(name)
		ahead.wait()
		require.Equal(t, errLarge, ahead.err, name)
		require.Nil(t, ahead.page, "nothing would count it")
		require.Equal(t, name == "wide", walk.reader.Listings.Load() == listings, "%s: not read in vain", name)
	}
	walk.After = "b"
	require.Nil(t, walk.prefetch("a"))
}

// Where too many large directories are being read, an answer that has begun is cut, and goes on with the
// next question.
func TestAnAnswerIsCutWhereItIsBusy(t *testing.T) {
	walk := newWalk(t)
	walk.reader.LargeSize = -1
	walk.reader.Shared = func(pages.FlightKey, int64, func() (*pages.Page, error)) (*pages.Page, error) { return nil, ErrBusy }
	require.Equal(t, ErrBusy, walk.walk("a/b", nil))
	require.False(t, walk.IsCut())
	walk.last = "a"
	require.NoError(t, walk.walk("a/b", nil))
	require.True(t, walk.IsCut())
}

// Room for an answer is taken once: before a listing is read, or before parts take as much as one.
// Short parts take none. Without room nothing is read.
func TestRoomForAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		walk func(w *Walk) error
		took int
	}{
		{"listings", func(w *Walk) error { return w.walk("", nil) }, 1},
		{"short parts", func(w *Walk) error { return w.put(make([]byte, pages.Small-1)) }, 0},
		{"long parts", func(w *Walk) error { return errors.Join(w.put(make([]byte, pages.Small-1)), w.put([]byte("x"))) }, 1},
		{"parts and listings", func(w *Walk) error { return errors.Join(w.put(make([]byte, pages.Small)), w.walk("", nil)) }, 1},
	} {
		walk, took := newWalk(t), 0
		walk.Reserve = func() error { took++; return nil }
		require.NoError(t, c.walk(walk), c.name)
		require.Equal(t, c.took, took, c.name)

		walk = newWalk(t)
		walk.Reserve = func() error { return pages.ErrFull }
		err := c.walk(walk)
		require.Equal(t, c.took > 0, errors.Is(err, pages.ErrFull), c.name)
	}
	walk := newWalk(t)
	walk.Reserve = func() error { return pages.ErrFull }
	require.ErrorIs(t, walk.walk("", nil), pages.ErrFull)
	require.Zero(t, walk.reader.Listings.Load())
	require.Nil(t, walk.body)
}
