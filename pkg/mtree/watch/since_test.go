package watch_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/proof"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// keeper has a copy of what a tree shows, and brings it up to date by what Since tells, as rsync
// does: the paths, and all entries of those that end in a slash.
type keeper struct {
	root  string
	shown map[string]string // by path: what is there
}

// showing returns what is at a path; "" if nothing is.
func (k *keeper) showing(path string) string {
	full := filepath.Join(k.root, path)
	info, err := os.Lstat(full)
	if err != nil {
		return ""
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return fmt.Sprint("directory ", info.Mode())
	case fs.ModeSymlink:
		target, _ := os.Readlink(full)
		return "symlink " + target
	}
	text, _ := os.ReadFile(full)
	return fmt.Sprintf("file %s %s %q", info.Mode(), info.ModTime(), text)
}

// everything returns all that the tree shows now.
func (k *keeper) everything(t *testing.T) map[string]string {
	all := map[string]string{}
	must(t, filepath.WalkDir(k.root, func(full string, e fs.DirEntry, err error) error {
		path, _ := filepath.Rel(k.root, full)
		if path == mtree.MarkerName {
			return fs.SkipDir
		}
		if err == nil && path != "." {
			all[path] = k.showing(path)
		}
		return err
	}))
	return all
}

// forget forgets all below a path.
func (k *keeper) forget(path string) {
	maps.DeleteFunc(k.shown, func(p, _ string) bool { return strings.HasPrefix(p, path+"/") })
}

// look looks at a path, and at those above it that it does not know.
func (k *keeper) look(path string) {
	if above := mtree.ParentPath(path); above != "" && k.shown[above] == "" && strings.HasPrefix(k.showing(above), "directory") {
		k.look(above)
	}
	now := k.showing(path)
	if !strings.HasPrefix(now, "directory") {
		k.forget(path)
	}
	if k.shown[path] = now; now == "" {
		delete(k.shown, path)
	}
}

// list looks at all entries of a directory.
func (k *keeper) list(path string) {
	for p := range maps.Clone(k.shown) {
		if mtree.ParentPath(p) == path {
			k.look(p)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(k.root, path))
	for _, e := range entries {
		if e.Name() != mtree.MarkerName {
			k.look(mtree.JoinPath(path, e.Name()))
		}
	}
}

// follow brings the copy up to date.
func (k *keeper) follow(t *testing.T, told string) {
	for _, text := range paths(told) {
		if text == "" {
			break // nothing was told
		}
		path, ok := strings.CutPrefix(text, "./")
		require.True(t, ok, text)
		path, isDir := strings.CutSuffix(path, "/")
		if path != "" {
			k.look(path)
		}
		if isDir || path == "" {
			k.list(path)
		}
	}
}

// tellSince returns what is told since a stamp.
func tellSince(t *testing.T, c watch.Config, stamp mtree.Stamp) string {
	var out bytes.Buffer
	log := new(logged)
	c.Log = slog.New(slog.NewTextHandler(log, nil))
	require.NoError(t, watch.Since(t.Context(), c, stamp, true, &out))
	t.Log("told since", stamp, strings.Count(out.String(), "\x00"), log)
	return out.String()
}

// Whoever looks at what Since tells has what the tree shows: whatever happens to it, by the journal
// and after starts of watch, between which everything may change.
func TestSince(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		proof.Rounds(t, 2, func(t *testing.T, seed uint64) {
			root := newTree(t, "a/f = f", "a/a/f = f", "b/g = g", "c/")
			c := newChurner(root, t.TempDir(), seed, 1)
			rng := rand.New(rand.NewPCG(seed, 2))
			r := start(t, watch.Config{Root: root, Backend: backend})
			k := &keeper{root: root}
			stamp := r.sync()
			k.shown = k.everything(t)
			for range 60 {
				for range rng.IntN(12) {
					c.step()
				}
				if rng.IntN(20) == 0 {
					r.stop()
					c.step()
					r = start(t, watch.Config{Root: root, Backend: backend})
				}
				next := r.sync()
				told := tellSince(t, watch.Config{Root: root}, stamp)
				k.follow(t, told)
				require.Equal(t, k.everything(t), k.shown, "told since %s:\n%s", stamp, strings.ReplaceAll(told, "\x00", "\n"))
				stamp = next
			}
		})
	})
}

// One change among many is told by its name alone.
func TestSinceTellsNames(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/b/f = f", "a/b/g = g", "c/")
		r := start(t, watch.Config{Root: root, Backend: backend})
		told := func(stamp mtree.Stamp) string {
			return tellSince(t, watch.Config{Root: root, Exclude: []string{"c"}}, stamp)
		}
		stamp := r.sync()
		require.Empty(t, told(stamp))
		write(t, root+"/a/b/f", "other")
		write(t, root+"/c/hidden", "x")
		next := r.sync()
		require.Equal(t, "./a/b/f\x00", told(stamp))
		must(t, os.Rename(root+"/a/b", root+"/#d"))
		r.sync()
		require.Subset(t, paths(told(next)), []string{"./#d/", "./#d/f", "./#d/g"}, "all that came")
		require.NotContains(t, told(next), "hidden")
		r.stop()
		require.Contains(t, told(stamp), "./#d/f\x00")
	})
}

// paths returns what ends in NULs.
func paths(text string) []string { return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00") }

// While no watch runs, changes are not published, and so not told. That is said.
func TestSinceWithoutAWatch(t *testing.T) {
	root := newTree(t, "a/f = f")
	r := start(t, watch.Config{Root: root})
	stamp := r.sync()
	r.stop()
	write(t, root+"/a/f", "new")
	var out bytes.Buffer
	log := new(logged)
	require.NoError(t, watch.Since(t.Context(), watch.Config{Root: root, Log: slog.New(slog.NewTextHandler(log, nil))}, stamp, true, &out))
	require.Contains(t, log.String(), "level=WARN msg=\"no watch hears this tree now")
	r = start(t, watch.Config{Root: root})
	r.sync()
	require.Contains(t, tellSince(t, watch.Config{Root: root}, stamp), "./a/f\x00")
}

// What Since refuses, and its text without NULs.
func TestSinceRefuses(t *testing.T) {
	root := newTree(t, "a/f = f")
	var out bytes.Buffer
	ask := func(root string, stamp mtree.Stamp) error {
		out.Reset()
		return watch.Since(t.Context(), watch.Config{Root: root}, stamp, false, &out)
	}
	require.Equal(t, exit.Refused, exit.Of(ask(root, mtree.Stamp{})), "no watch ever ran here")
	require.Equal(t, exit.Local, exit.Of(ask(root+"/a/f", mtree.Stamp{})))
	r := start(t, watch.Config{Root: root})
	stamp := r.sync()
	write(t, root+"/a/x\ny", "y")
	r.sync()
	require.NoError(t, ask(root, stamp))
	require.Equal(t, "./a/x%0Ay\n", out.String())
	require.NoError(t, ask(root, mtree.Unix(1<<33, 0)))
	require.ElementsMatch(t, []string{"./\n", "./a/\n", "./a/f\n", "./a/x%0Ay\n", ""}, strings.SplitAfter(out.String(), "\n"), "everything")
}

// A stamp of a clock that was set back since. When the clock has passed it again, the journal seems
// to reach back to it.
func TestStampOfAnEarlierClock(t *testing.T) {
	root := newTree(t, "a/f = f", "b/g = g")
	var clock movable
	clock.ahead.Store(int64(30 * time.Minute))
	r := start(t, watch.Config{Root: root, Now: clock.now})
	must(t, os.Chtimes(root+"/a/f", time.Time{}, clock.now().Time()))
	stamp := r.sync()
	for _, ahead := range []time.Duration{10 * time.Minute, 40 * time.Minute} {
		clock.ahead.Store(int64(ahead))
		write(t, root+"/a/new"+fmt.Sprint(ahead), "new")
		must(t, os.Chtimes(root+"/a/f", time.Time{}, clock.now().Time()))
		r.sync()
		r.await(wire.Watched)
	}
	require.Contains(t, paths(tellSince(t, watch.Config{Root: root}, stamp)), "./a/new10m0s")
}

// While a tree is degraded, nothing but all of it is told.
func TestSinceOfADegradedTree(t *testing.T) {
	root := newTree(t, "a/f = f", "b/g = g")
	r := start(t, watch.Config{Root: root})
	stamp := r.sync()
	write(t, root+"/a/f", "new")
	r.sync()
	editStatus(t, root, func(s *state.Status) { s.State = wire.Degraded })
	require.Contains(t, paths(tellSince(t, watch.Config{Root: root}, stamp)), "./b/g")
}

// Where the clock is set back, stamps come that may have come before. Those are recorded: what
// was done since such a stamp cannot be told from the stamps alone. Names of the journal can, if
// the root had the stamp in this run.
func TestStampsThatComeAgainAreRecorded(t *testing.T) {
	t.Run("watched", func(t *testing.T) {
		root := newTree(t, "a/f = f", "b/g = g")
		var clock movable
		r := start(t, watch.Config{Root: root, Now: clock.now})
		before := r.sync()
		clock.ahead.Store(int64(time.Hour))
		r.sync() // in a batch that may have looked at the clock before
		r.sync() // looks at the clock; nothing is stamped
		clock.ahead.Store(0)
		set := clock.now()
		write(t, root+"/a/f", "after")
		must(t, os.Chtimes(root+"/a/f", time.Time{}, set.Time())) // as of a kernel whose clock was set back
		stamp := r.sync()
		again := r.status().Tree.Again
		require.True(t, again.Has(stamp))
		require.True(t, again.Has(set), "before the watcher looked at the clock")
		require.False(t, again.Has(before))
		require.True(t, again.To.After(clock.now().Add(time.Hour-time.Minute)))
		r.await(wire.Watched)
		stamp = r.sync()
		write(t, root+"/a/f", "again")
		r.sync()
		require.Equal(t, "./a/f\x00", tellSince(t, watch.Config{Root: root}, stamp))
		r.stop()
		require.Contains(t, paths(tellSince(t, watch.Config{Root: root}, stamp)), "./b/g", "everything")
	})
	t.Run("in another boot", func(t *testing.T) {
		root := newTree(t, "a/f = f", "b/g = g")
		var clock movable
		clock.ahead.Store(int64(time.Hour))
		r := start(t, watch.Config{Root: root, Now: clock.now})
		must(t, os.Chtimes(root+"/a/f", time.Time{}, clock.now().Time()))
		stamp := r.sync()
		r.stop()
		editStatus(t, root, func(s *state.Status) { s.Boot = "another" })
		clock.ahead.Store(0)
		r = start(t, watch.Config{Root: root, Now: clock.now})
		r.sync()
		require.True(t, r.status().Tree.Again.Has(stamp))
		require.Contains(t, paths(tellSince(t, watch.Config{Root: root}, stamp)), "./b/g", "the tree does not have this stamp now: everything")
	})
}
