package watch_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// On the first run of all a directory shows the greatest mtime at or below it. A file from
// the future counts by its ctime.
func TestFirstRun(t *testing.T) {
	root := newTree(t, "a/b/f = x @1500000000.5", "a/g = y @1400000000", "c/h = z @1300000000.000000007", "c/future = w @4000000000", "e/",
		"e/ @1000000000", "a/b/ @1200000000", "a/ @1100000000", "c/ @1000000000")
	must(t, os.Chtimes(root, day(2001), day(2001)))
	future := bothTimes(t, filepath.Join(root, "c/future"))[1]
	r := start(t, watch.Config{Root: root})
	require.Equal(t, mtree.Unix(1_500_000_000, 500_000_000), stampOf(t, root, "a/b"))
	require.Equal(t, mtree.Unix(1_500_000_000, 500_000_000), stampOf(t, root, "a"))
	require.Equal(t, at(1_000_000_000), stampOf(t, root, "e"))
	require.Equal(t, future, stampOf(t, root, "c"))
	require.NotZero(t, r.status().Tree.Epoch)
	require.False(t, stampOf(t, root, ".").Before(future))
}

// A restart alone stamps nothing: the writes of our last batches are known, also after a
// kill.
func TestRestartIsQuiet(t *testing.T) {
	root := newTree(t, "a/b/c/", "d/e/")
	r := start(t, watch.Config{Root: root})
	for _, path := range []string{"a/b/c/new", "d/new"} {
		must(t, os.Mkdir(filepath.Join(root, path), 0o755))
	}
	r.sync()
	before, epoch := stamps(t, root), r.status().Tree.Epoch
	r.stop()
	for _, stop := range []func(*running){(*running).stop, (*running).kill} {
		r = start(t, watch.Config{Root: root})
		require.Equal(t, before, stamps(t, root))
		require.Equal(t, epoch, r.status().Tree.Epoch)
		stop(r)
	}
	start(t, watch.Config{Root: root})
	require.Equal(t, before, stamps(t, root))
}

// kill ends the watcher like SIGKILL: nothing is written any more.
func (r *running) kill() {
	marker := filepath.Join(r.root, mtree.MarkerName)
	saved := map[string][]byte{}
	for _, name := range []string{"status.json", "left.0", "left.1"} {
		text, err := os.ReadFile(filepath.Join(marker, name))
		must(r.t, err)
		saved[name] = text
	}
	r.stop()
	for name, text := range saved {
		must(r.t, os.WriteFile(filepath.Join(marker, name), text, 0o644))
	}
}

// What changed while watch was down is published by the end of the start audit:
// W4.
func TestRestartFindsChanges(t *testing.T) {
	root := newTree(t, "a/b/f = one @1000000000", "c/d/g = two @1000000000", "e/h = three", "k/l/m/n/", "s/t/", "outside/o = x @1000000000")
	in := func(path string) string { return filepath.Join(root, path) }
	for _, c := range []struct {
		name, dir string
		do        func() error
	}{
		{"write, dated back", "a/b", func() error {
			write(t, in("a/b/f"), "uno")
			return os.Chtimes(in("a/b/f"), day(2001), day(2001))
		}},
		{"delete, directory dated back", "c/d", func() error {
			must(t, os.Remove(in("c/d/g")))
			return os.Chtimes(in("c/d"), day(2001), day(2001))
		}},
		{"chmod", "e", func() error { return os.Chmod(in("e/h"), 0o600) }},
		{"a directory renamed, with all below", "k/L/m/n", func() error { return os.Rename(in("k/l"), in("k/L")) }},
		{"old file moved in", "s/t", func() error { return os.Rename(in("outside/o"), in("s/t/o")) }},
		{"a new directory", "new/dir", func() error { return os.MkdirAll(in("new/dir"), 0o755) }},
	} {
		r := start(t, watch.Config{Root: root})
		r.sync()
		r.stop()
		seen, epoch := logStamps(t, root), r.status().Tree.Epoch
		must(t, c.do())
		r = start(t, watch.Config{Root: root})
		seen.fresh(c.name, c.dir)
		require.Equal(t, epoch, r.status().Tree.Epoch, c.name)
		r.stop()
	}
}

// editStatus changes status.json between two runs.
func editStatus(t *testing.T, root string, edit func(*state.Status)) {
	path := filepath.Join(root, mtree.MarkerName, "status.json")
	text, err := os.ReadFile(path)
	must(t, err)
	var s state.Status
	must(t, json.Unmarshal(text, &s))
	edit(&s)
	text, err = json.Marshal(s)
	must(t, err)
	must(t, os.WriteFile(path, text, 0o644))
}

// If continuity cannot be proved, every directory gets a new stamp and the epoch is raised;
// only then.
func TestEpoch(t *testing.T) {
	root := newTree(t, "a/b/f = one", "c/d/")
	r := start(t, watch.Config{Root: root})
	r.sync()
	r.stop()
	epoch := r.status().Tree.Epoch
	for _, c := range []struct {
		name   string
		edit   func(*state.Status)
		raised bool
	}{
		{"nothing", func(*state.Status) {}, false},
		{"no checkpoint", func(s *state.Status) { s.Checkpoint = nil }, true},
		{"ahead of the clock", func(s *state.Status) { ahead := machine.Now().Add(time.Hour); s.Checkpoint = &ahead }, true},
		{"another boot, not clean", func(s *state.Status) { s.Boot, s.Clean = "other", false }, true},
		{"another boot, clean", func(s *state.Status) { s.Boot = "other" }, false},
		{"killed in this boot", func(s *state.Status) { s.Clean = false }, false},
	} {
		editStatus(t, root, c.edit)
		before := stamps(t, root)
		r = start(t, watch.Config{Root: root})
		after := stamps(t, root)
		if c.raised {
			require.Greater(t, r.status().Tree.Epoch, epoch, c.name)
			epoch = r.status().Tree.Epoch
			for path := range before {
				require.NotEqual(t, before[path], after[path], "%s: %s", c.name, path)
			}
		}
		require.Equal(t, epoch, r.status().Tree.Epoch, c.name)
		r.stop()
	}
}

// A tree whose latest stamp lies far ahead starts again from the clock, and raises the epoch
// for its readers.
func TestFloorAhead(t *testing.T) {
	root := newTree(t, "a/b/")
	r := start(t, watch.Config{Root: root})
	r.stop()
	epoch := r.status().Tree.Epoch
	must(t, os.Chtimes(root, day(2090), day(2090)))
	must(t, os.Chtimes(filepath.Join(root, "a/b"), day(2090), day(2090)))
	r = start(t, watch.Config{Root: root})
	for path, stamp := range stamps(t, root) {
		require.False(t, stamp.After(machine.Now()), path)
	}
	require.Greater(t, r.status().Tree.Epoch, epoch)
}

// A clock set back while watch runs is a loss: audit, and a new epoch.
func TestClockSetBackWhileWatching(t *testing.T) {
	root := newTree(t, "a/b/f = one")
	var clock movable
	r := start(t, watch.Config{Root: root, Now: clock.now})
	r.sync()
	before, epoch := stamps(t, root), r.status().Tree.Epoch
	clock.ahead.Store(int64(-1500 * time.Millisecond))
	write(t, filepath.Join(root, "a/b/f"), "two")
	require.Eventually(t, func() bool { return r.status().Tree.Epoch > epoch }, deadline, time.Millisecond)
	r.await(wire.Watched)
	for path, stamp := range stamps(t, root) {
		require.NotEqual(t, before[path], stamp, path)
	}
	require.NotNil(t, r.status().Status.Checkpoint)
	require.False(t, r.status().Status.Checkpoint.After(clock.now()))
}

// A start audit finds a write by another hard link, which no event told of, by
// the file's ctime.
func TestAuditFindsHardLinks(t *testing.T) {
	root := newTree(t, "a/f = one", "b/c/")
	outside := newTree(t)
	must(t, os.Link(filepath.Join(root, "a/f"), filepath.Join(outside, "f")))
	audits := make(chan struct{}, 1)
	r := start(t, watch.Config{Root: root, Audit: audits})
	// A change elsewhere moves the checkpoint, by a clock far ahead of it.
	seen := logStamps(t, root)
	write(t, filepath.Join(outside, "f"), "two")
	r.sync()
	audits <- struct{}{}
	require.Eventually(t, func() bool { return r.config.Stats.Audits.Load() == 2 }, deadline, time.Millisecond)
	r.sync()
	seen.fresh("hard link", "a")
}

func TestOnce(t *testing.T) {
	root := newTree(t, "a/b/f = one @1000000000")
	stats := new(watch.Stats)
	must(t, watch.Once(context.Background(), watch.Config{Root: root, Stats: stats}))
	r := &running{t: t, root: root}
	require.Equal(t, wire.Audited, r.status().State)
	seen, epoch := logStamps(t, root), r.status().Tree.Epoch
	write(t, filepath.Join(root, "a/b/f"), "two")
	must(t, os.Chtimes(filepath.Join(root, "a/b/f"), day(2001), day(2001)))
	must(t, watch.Once(context.Background(), watch.Config{Root: root}))
	seen.fresh("while nobody watched", "a/b")
	require.Equal(t, wire.Audited, r.status().State)
	require.Equal(t, epoch, r.status().Tree.Epoch)
	require.EqualValues(t, 1, stats.Audits.Load())
}

func TestBackendNone(t *testing.T) {
	root := newTree(t, "a/b/f = one")
	r := start(t, watch.Config{Root: root, Backend: "none"})
	require.Equal(t, wire.Audited, r.status().State)
	seen := logStamps(t, root)
	must(t, os.Chtimes(filepath.Join(root, "a/b/f"), day(2001), day(2001)))
	r.sync() // asks for an audit
	seen.fresh("found by an audit", "a/b")
}

func TestMissingRoot(t *testing.T) {
	err := watch.Run(context.Background(), watch.Config{Root: filepath.Join(t.TempDir(), "missing")})
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "missing")
	err = watch.Run(context.Background(), watch.Config{Root: t.TempDir(), Backend: "telepathy"})
	require.Equal(t, exit.Usage, exit.Of(err))
	err = watch.Run(context.Background(), watch.Config{Root: t.TempDir(), Exclude: []string{"[a"}})
	require.Equal(t, exit.Usage, exit.Of(err))
}

// Who removes .tidemark takes one file after the other, and leaves the rest where watch is faster: then
// what went first comes back, too.
func TestGitignoreComesBack(t *testing.T) {
	t.Parallel()
	root := newTree(t, "a/f = one")
	r := start(t, watch.Config{Root: root})
	hidden := filepath.Join(root, mtree.MarkerName, ".gitignore")
	must(t, os.Remove(hidden))
	r.sync()
	require.FileExists(t, hidden)
	require.Equal(t, wire.Watched, r.status().State)
}
