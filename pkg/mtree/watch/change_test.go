package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch"
)

// TestEveryChangeIsFresh holds W1: after each kind of change the directories
// from it to the root show stamps that they never showed.
func TestEveryChangeIsFresh(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) { everyChangeIsFresh(t, memory, backend) })
}

func everyChangeIsFresh(t *testing.T, place, backend string) {
	root := newTreeIn(t, place, "a/b/c/f = one", "a/b/c/g = two", "a/b/d/e/", "x/y/h = three", "other/")
	outside := newTreeIn(t, place, "old = of old @1000000000", "dir/sub/f = x @1000000000")
	r := start(t, watch.Config{Root: root, Backend: backend})
	granule := r.granule()
	r.sync()
	seen := logStamps(t, root)
	in := func(path string) string { return filepath.Join(root, path) }
	open, err := os.OpenFile(in("a/b/c/live"), os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	defer open.Close()
	r.sync()
	seen.note()

	for _, c := range []struct {
		name, dir string
		do        func() error
	}{
		{"create", "a/b/c", func() error { return os.WriteFile(in("a/b/c/new"), []byte("x"), 0o644) }},
		{"write", "a/b/c", func() error { return os.WriteFile(in("a/b/c/f"), []byte("changed"), 0o644) }},
		{"write without close", "a/b/c", func() error { _, err := open.WriteString("line\n"); return err }},
		{"truncate", "a/b/c", func() error { return os.Truncate(in("a/b/c/f"), 0) }},
		{"date back", "a/b/c", func() error { return os.Chtimes(in("a/b/c/f"), day(1999), day(1999)) }},
		{"date back to the same", "a/b/c", func() error { return os.Chtimes(in("a/b/c/f"), day(1999), day(1999)) }},
		{"mtime alone", "a/b/c", func() error { return os.Chtimes(in("a/b/c/f"), time.Time{}, day(2000)) }},
		{"date ahead", "a/b/c", func() error { return os.Chtimes(in("a/b/c/f"), day(2099), day(2099)) }},
		{"another beside the future", "a/b/c", func() error { return os.WriteFile(in("a/b/c/g"), []byte("y"), 0o644) }},
		{"before 1970", "a/b/c", func() error { return os.Chtimes(in("a/b/c/f"), day(1930), day(1930)) }},
		{"chmod", "a/b/c", func() error { return os.Chmod(in("a/b/c/f"), 0o600) }},
		{"link", "x/y", func() error { return os.Link(in("a/b/c/f"), in("x/y/linked")) }},
		{"symlink", "x/y", func() error { return os.Symlink("h", in("x/y/sym")) }},
		{"rename", "a/b/c", func() error { return os.Rename(in("a/b/c/f"), in("a/b/c/f2")) }},
		{"rename over", "a/b/c", func() error { return os.Rename(in("a/b/c/f2"), in("a/b/c/g")) }},
		{"move in an old file", "x/y", func() error { return os.Rename(filepath.Join(outside, "old"), in("x/y/old")) }},
		{"move out", "x/y", func() error { return os.Rename(in("x/y/old"), filepath.Join(outside, "old")) }},
		{"delete", "a/b/c", func() error { return os.Remove(in("a/b/c/g")) }},
		{"mkdir", "a/b", func() error { return os.Mkdir(in("a/b/made"), 0o755) }},
		{"chmod of a directory", "a/b", func() error { return os.Chmod(in("a/b/made"), 0o700) }},
		{"rmdir", "a/b", func() error { return os.Remove(in("a/b/made")) }},
		{"directory dated back", "a/b/d/e", func() error { return os.Chtimes(in("a/b/d/e"), day(2001), day(2001)) }},
		{"directory's mtime alone", "a/b/d/e", func() error { return os.Chtimes(in("a/b/d/e"), time.Time{}, day(2001)) }},
		{"directory dated ahead", "a/b/d/e", func() error { return os.Chtimes(in("a/b/d/e"), day(2099), day(2099)) }},
		{"root dated back", ".", func() error { return os.Chtimes(root, day(2001), day(2001)) }},
		{"root chmod", ".", func() error { return os.Chmod(root, 0o750) }},
		{"move a directory in", "x/dir/sub", func() error { return os.Rename(filepath.Join(outside, "dir"), in("x/dir")) }},
		{"change in what moved in", "x/dir/sub", func() error { return os.WriteFile(in("x/dir/sub/f"), nil, 0o644) }},
		{"rename a directory", "x/renamed/sub", func() error { return os.Rename(in("x/dir"), in("x/renamed")) }},
		{"change in what was renamed", "x/renamed/sub", func() error { return os.WriteFile(in("x/renamed/sub/f"), []byte("z"), 0o644) }},
		{"exchange directories", "x/renamed", func() error {
			return unix.Renameat2(unix.AT_FDCWD, in("x/renamed"), unix.AT_FDCWD, in("other"), unix.RENAME_EXCHANGE)
		}},
		{"change in what was exchanged", "other/sub", func() error { return os.WriteFile(in("other/sub/f"), []byte("zz"), 0o644) }},
		{"file becomes directory", "x/y/h", func() error {
			if err := os.Remove(in("x/y/h")); err != nil {
				return err
			}
			return os.Mkdir(in("x/y/h"), 0o755)
		}},
		{"change in it", "x/y/h", func() error { return os.WriteFile(in("x/y/h/f"), nil, 0o644) }},
		{"mkdir -p and write at once", "deep/1/2/3", func() error {
			if err := os.MkdirAll(in("deep/1/2/3"), 0o755); err != nil {
				return err
			}
			return os.WriteFile(in("deep/1/2/3/f"), nil, 0o644)
		}},
		{"later in it", "deep/1/2/3", func() error { return os.WriteFile(in("deep/1/2/3/f"), []byte("x"), 0o644) }},
		{"rm -r and the same names again", "deep/1/2/3", func() error {
			if err := os.RemoveAll(in("deep")); err != nil {
				return err
			}
			return os.MkdirAll(in("deep/1/2/3"), 0o755)
		}},
		{"in the second of these names", "deep/1/2/3", func() error { return os.WriteFile(in("deep/1/2/3/f"), []byte("x"), 0o644) }},
		{"rm -r", ".", func() error { return os.RemoveAll(in("deep")) }},
	} {
		must(t, c.do())
		require.Equal(t, r.sync(), stampOf(t, root, "."))
		seen.fresh(c.name, c.dir)
		seen.note()
		require.False(t, stampOf(t, root, ".").After(machine.Now().Add(granule)), "%s: the root is ahead of the clock", c.name)
	}
	require.Zero(t, r.config.Stats.Losses.Load())
}

// An in-place write puts exactly the file's mtime on every ancestor. On a machine that stops in
// the middle of it, it is two changes in one tick, which need two stamps: then once more.
func TestFileTimeGoesUpUnchanged(t *testing.T) {
	eachBackend(t, testFileTimeGoesUpUnchanged)
}

func testFileTimeGoesUpUnchanged(t *testing.T, backend string) {
	root := newTree(t, "a/b/c/f = one", "z/")
	r := start(t, watch.Config{Root: root, Backend: backend})
	r.sync()
	f := filepath.Join(root, "a/b/c/f")
	shown := func() (all []mtree.Stamp) {
		for _, path := range append(ancestors("a/b/c"), "a/b/c/f") {
			all = append(all, stampOf(t, root, path))
		}
		return slices.Compact(all)
	}
	for try := 0; len(shown()) > 1 || try == 0; try++ {
		require.Less(t, try, 5, "%v", shown())
		write(t, f, fmt.Sprint("two", try))
		r.sync()
	}
	require.NotEqual(t, stampOf(t, root, "."), stampOf(t, root, "z"))
}

// Nothing but directory times and .tidemark changes: W6.
func TestHandsOff(t *testing.T) {
	root := newTree(t, "a/b/f = one @1700000000.5 mode=0600", "l -> a/b/f")
	before, err := testtree.Snapshot(root)
	must(t, err)
	r := start(t, watch.Config{Root: root})
	must(t, os.Chtimes(filepath.Join(root, "a"), day(2001), day(2001)))
	r.sync()
	r.stop()
	after, err := testtree.Snapshot(root)
	must(t, err)
	for path, was := range before {
		if was[0] != 'd' {
			require.Equal(t, was, after[path], path)
		}
	}
	require.Len(t, after, len(before))
}

// An idle tree sees no writes: W5. Our own stamps cause events, which must not
// cause stamps.
func TestQuiet(t *testing.T) {
	eachBackend(t, testQuiet)
}

func testQuiet(t *testing.T, backend string) {
	root := newTree(t, "a/b/f = one", "c/d/e/")
	r := start(t, watch.Config{Root: root, Backend: backend})
	write(t, filepath.Join(root, "a/b/f"), "two")
	must(t, os.Rename(filepath.Join(root, "c"), filepath.Join(root, "a/c")))
	r.sync()
	var before map[string][2]mtree.Stamp
	require.Eventually(t, func() bool { // after the events of our own stamps
		before = everyTime(t, root)
		r.sync()
		return reflect.DeepEqual(before, everyTime(t, root))
	}, deadline, time.Millisecond)
	batches := r.config.Stats.Batches.Load()
	for range 5 {
		r.sync()
	}
	require.Equal(t, before, everyTime(t, root))
	require.Equal(t, batches, r.config.Stats.Batches.Load())
}

// everyTime returns mtime and ctime of everything in the tree that an idle
// watcher must not touch.
func everyTime(t testing.TB, root string) map[string][2]mtree.Stamp {
	all := map[string][2]mtree.Stamp{}
	for path := range stamps(t, root) {
		all[path] = bothTimes(t, filepath.Join(root, path))
	}
	for _, name := range []string{"status.json", "tree", "left.0", "left.1"} {
		all[name] = bothTimes(t, filepath.Join(root, mtree.MarkerName, name))
	}
	return all
}

func bothTimes(t testing.TB, path string) [2]mtree.Stamp {
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return [2]mtree.Stamp{mtree.Unix(st.Mtim.Unix()), mtree.Unix(st.Ctim.Unix())}
}

// A directory that arrives under a name is stamped with everything below it, though nothing
// in it changed: a reader may remember other contents for these names and times.
func TestArrivedIsStampedThroughout(t *testing.T) {
	eachBackend(t, testArrivedIsStampedThroughout)
}

func testArrivedIsStampedThroughout(t *testing.T, backend string) {
	root := newTree(t, "current/sub/deep/f = a @1000000000", "next/sub/deep/f = b @1000000000")
	r := start(t, watch.Config{Root: root, Backend: backend})
	r.sync()
	seen := logStamps(t, root)
	in := func(path string) string { return filepath.Join(root, path) }
	must(t, os.Rename(in("current"), in("old")))
	must(t, os.Rename(in("next"), in("current")))
	r.sync()
	seen.fresh("mv next current", "current/sub/deep")
	seen.fresh("mv current old", "old/sub/deep")
}

// A directory arrived at a name below which another had been seen at a time that watch had not
// published yet. The latest time in the new one was that very time, as both had changed in one
// tick of the clock, and the directory in question showed only older ones itself. So that time
// became its stamp, and readers who had looked before kept what the other one had had.
func TestArrivedWithATimeThatItsNameShowed(t *testing.T) {
	for _, backend := range append(slices.Clone(backends), "none") {
		for _, places := range [][]string{{"current"}, {"current", "current/sub"}} {
			t.Run(fmt.Sprint(backend, " ", len(places)), func(t *testing.T) { testArrivedWithATimeThatItsNameShowed(t, backend, places) })
		}
	}
}

func testArrivedWithATimeThatItsNameShowed(t *testing.T, backend string, places []string) {
	const deep = "current/sub/deep"
	root, outside := newTree(t, deep+"/f = a"), newTree(t, deep+"/f = b", "next/"+deep+"/f = c")
	r := start(t, watch.Config{Root: root, Backend: backend, Settle: 50 * time.Millisecond})
	r.sync()
	seen := logStamps(t, root)
	in := func(path string) string { return filepath.Join(root, path) }
	for _, place := range places {
		for was := stampOf(t, root, "."); !stampOf(t, root, deep).After(was); { // a later tick than that of the move before
			must(t, os.WriteFile(in(deep+"/new"), nil, 0o644))
			must(t, os.Remove(in(deep+"/new")))
		}
		seen.note()
		tick := stampOf(t, root, deep).Time()
		must(t, os.Chtimes(filepath.Join(outside, deep, "f"), tick, tick))
		must(t, os.Rename(in(place), filepath.Join(outside, "old")))
		must(t, os.Rename(filepath.Join(outside, place), in(place)))
		outside = filepath.Join(outside, "next")
	}
	r.sync()
	seen.fresh("mv next current", deep)
}
