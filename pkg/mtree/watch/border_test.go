package watch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/watch"
)

// A directory in which another watch runs is the border of another tree: its parents are
// stamped when its own time moves, and nothing inside. It is a border only while that watch
// runs. A .tidemark that was left over once silenced everything below it, in state watched
// and without a word.
func TestBorder(t *testing.T) {
	eachBackend(t, testBorder)
}

func testBorder(t *testing.T, backend string) {
	root := newTree(t, "a/inner/deep/f = one", "a/g = two")
	inner := filepath.Join(root, "a/inner")
	start(t, watch.Config{Root: inner}).stop()
	r := start(t, watch.Config{Root: root, Backend: backend})
	seen := logStamps(t, root)
	write(t, filepath.Join(inner, "deep/f"), "changed")
	r.sync()
	seen.fresh("nobody runs there", "a/inner/deep")
	seen.note()

	w := start(t, watch.Config{Root: inner})
	write(t, filepath.Join(inner, "deep/f"), "changed again")
	stamp := w.sync()
	r.sync()
	require.Equal(t, stamp, stampOf(t, root, "a/inner"), "its own watcher's")
	seen.fresh("inner tree stamped", "a")
	require.EqualValues(t, 1, r.config.Stats.Borders.Load())
	require.Contains(t, r.log.String(), "path=a/inner/")
	require.Equal(t, []string{"a/inner"}, r.status().Tree.Borders)

	seen.note()
	w.stop()
	isFresh(t, seen, "its watcher has ended", "a/inner/deep")
	r.sync()
	require.Zero(t, r.config.Stats.Borders.Load())
	require.Empty(t, r.status().Tree.Borders)
	seen.note()
	write(t, filepath.Join(inner, "deep/f"), "ours")
	r.sync()
	seen.fresh("heard again", "a/inner/deep")

	seen.note()
	must(t, os.RemoveAll(filepath.Join(inner, mtree.MarkerName)))
	r.sync()
	seen.fresh(".tidemark removed", "a/inner/deep")
}

// isFresh waits until path shows a stamp that it never showed before.
func isFresh(t *testing.T, seen *stampLog, what, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return !seen.seen[path][stampOf(t, seen.root, path)] && !seen.seen["."][stampOf(t, seen.root, ".")]
	}, deadline, time.Millisecond, what)
}

// A border that is there from the start, and is moved, is followed. Nothing inside it was
// ever heard.
func TestBorderFromTheStart(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/inner/deep/f = one", "b/")
		w := start(t, watch.Config{Root: filepath.Join(root, "a/inner"), Backend: "none"})
		before := stampOf(t, root, "a/inner/deep")
		r := start(t, watch.Config{Root: root, Backend: backend})
		write(t, filepath.Join(root, "a/inner/deep/f"), "its own watcher's to publish")
		r.sync()
		require.Equal(t, before, stampOf(t, root, "a/inner/deep"))
		must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b/moved")))
		r.sync()
		require.Equal(t, before, stampOf(t, root, "b/moved/inner/deep"))
		seen := logStamps(t, root)
		w.cancel() // ends with an error or without: its root is elsewhere
		<-w.ended
		w.cancel = nil
		isFresh(t, seen, "its watcher has ended", "b/moved/inner/deep")
		r.sync()
		seen.note()
		write(t, filepath.Join(root, "b/moved/inner/deep/f"), "ours")
		r.sync()
		seen.fresh("heard", "b/moved/inner/deep")
	})
}

// A tree that is copied in with its .tidemark arrives like any other.
func TestCopiedTreeIsNoBorder(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		other := newTree(t, "a/b/f = one")
		start(t, watch.Config{Root: other}).stop()
		root := newTree(t, "c/")
		r := start(t, watch.Config{Root: root, Backend: backend})
		testfs.Run(t, "cp", "-a", other, filepath.Join(root, "c/imported"))
		r.sync()
		seen := logStamps(t, root)
		write(t, filepath.Join(root, "c/imported/a/b/f"), "two")
		must(t, os.Mkdir(filepath.Join(root, "c/imported/a/new"), 0o755))
		r.sync()
		seen.fresh("as everywhere", "c/imported/a/b")
	})
}

// The watcher inside a border may have ended while nobody watched outside. Nobody knows what
// it published, so everything below counts as arrived. Once a border whose name is no text
// was not recognised again.
func TestBorderThatEndedMeanwhile(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root, inner := newTree(t, "a/"), "a/in\xffner %41"
		must(t, os.MkdirAll(filepath.Join(root, inner, "deep"), 0o755))
		write(t, filepath.Join(root, inner, "deep/f"), "one")
		w := start(t, watch.Config{Root: filepath.Join(root, inner)})
		start(t, watch.Config{Root: root, Backend: backend, Now: later}).stop()
		w.stop()
		seen := logStamps(t, root)
		brokenOff(t, watch.Config{Root: root, Backend: backend, Now: later})
		r := start(t, watch.Config{Root: root, Backend: backend, Now: later})
		seen.fresh("ended meanwhile", inner+"/deep")
		require.Empty(t, r.status().Tree.Borders)
		r.stop()
		before := stamps(t, root)
		start(t, watch.Config{Root: root, Backend: backend, Now: later})
		require.Equal(t, before, stamps(t, root), "once")
	})
}
