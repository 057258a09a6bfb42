package watch_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// deadline is how long a test waits for anything. Tests run side by side, on busy machines.
const deadline = 2 * time.Minute

// newTree makes a tree in memory if that is possible: the tests of a watcher set thousands
// of times.
func newTree(t testing.TB, lines ...string) string { return newTreeIn(t, memory, lines...) }

// memory is where most trees of tests are.
const memory = "/dev/shm"

// newTreeIn makes a tree in a directory, so on its file system.
func newTreeIn(t testing.TB, dir string, lines ...string) string {
	t.Helper()
	root, err := os.MkdirTemp(dir, "tidemark-watch-")
	if err != nil {
		require.Equal(t, memory, dir, err)
		root = t.TempDir()
	} else {
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	}
	testtree.Make(t, root, lines...)
	return root
}

// removeMarker removes .tidemark, which a watcher may be putting back at the same time.
func removeMarker(root string) (err error) {
	for range 100 {
		if err = os.RemoveAll(filepath.Join(root, mtree.MarkerName)); err == nil {
			break
		}
	}
	return err
}

// running is a watcher under test.
type running struct {
	t      testing.TB
	root   string
	config watch.Config
	cancel context.CancelFunc
	ended  chan error
	log    *logged
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// note writes a line of the test's own.
func (l *logged) note(line string) { _, _ = l.Write([]byte(line + "\n")) }

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a watcher and waits until its start audit is done.
func start(t testing.TB, c watch.Config) *running {
	t.Helper()
	r := begin(t, c)
	r.await(wire.Watched, wire.Degraded, wire.Audited)
	return r
}

func begin(t testing.TB, c watch.Config) *running {
	t.Helper()
	r := &running{t: t, root: c.Root, ended: make(chan error, 1), log: new(logged)}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if c.Stats == nil {
		c.Stats = new(watch.Stats)
	}
	ready := make(chan struct{})
	c.Ready = func() { close(ready) }
	c = c.SameProcess()
	r.config = c
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.ended <- watch.Run(ctx, c) }()
	select {
	case <-ready:
	case err := <-r.ended:
		require.NoError(t, err)
		t.Fatal("watch ended at once")
	case <-time.After(deadline):
		t.Fatal("watch did not start")
	}
	t.Cleanup(func() {
		if r.cancel != nil {
			r.stop()
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// stop ends the watcher in order.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.ended:
		require.NoError(r.t, err)
	case <-time.After(deadline):
		r.t.Fatal("watch did not stop")
	}
}

func (r *running) status() state.Published {
	root, err := disk.OpenRoot(r.root)
	require.NoError(r.t, err)
	defer root.Close()
	p, err := state.ReadPublished(root, r.config.StateDir)
	require.NoError(r.t, err)
	return p
}

func (r *running) await(states ...wire.State) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		state := r.status().State
		for _, s := range states {
			if s == state {
				return true
			}
		}
		return false
	}, deadline, time.Millisecond, "want %v, log:\n%s", states, r.log)
}

// sync waits until everything done so far is published, and returns the root's
// stamp.
func (r *running) sync() mtree.Stamp {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	stamp, err := watch.Sync(ctx, r.root, r.config.StateDir)
	require.NoError(r.t, err, r.log)
	return stamp
}

// granule measures the granule of the tree's file system.
func (r *running) granule() time.Duration {
	r.t.Helper()
	root, err := disk.OpenRoot(r.root)
	must(r.t, err)
	defer root.Close()
	m, err := state.OpenMarker(root, r.config.StateDir)
	must(r.t, err)
	defer m.Close()
	granule, err := m.Granule()
	must(r.t, err)
	return granule
}

// stampOf returns the published stamp of a directory: its mtime, or the stamp in
// .tidemark/stamps.
func stampOf(t testing.TB, root, path string) mtree.Stamp {
	t.Helper()
	info, err := os.Stat(filepath.Join(root, path))
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(root, mtree.MarkerName, "stamps")); err == nil {
		if stamp, ok := exceptions(t, root).StampOf(path, info.Sys().(*syscall.Stat_t).Ino); ok {
			return stamp
		}
	}
	return mtree.FromTime(info.ModTime())
}

// exceptions returns what .tidemark of the tree at path says about directories that refuse
// or are unread.
func exceptions(t testing.TB, path string) *state.Exceptions {
	t.Helper()
	root, err := disk.OpenRoot(path)
	must(t, err)
	defer root.Close()
	var r state.ExceptionsReader
	apart, err := r.Read(root, "")
	must(t, err)
	return apart
}

// stamps returns the mtimes of all directories but .tidemark, by path, the
// root's being ".".
func stamps(t testing.TB, root string) map[string]mtree.Stamp {
	t.Helper()
	all := map[string]mtree.Stamp{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == mtree.MarkerName {
			return filepath.SkipDir
		}
		name, err := filepath.Rel(root, path)
		all[name] = stampOf(t, root, name)
		return err
	}))
	return all
}

// ancestors returns the directory path and all above it, "." last.
func ancestors(path string) []string {
	var all []string
	for ; path != "." && path != ""; path = filepath.Dir(path) {
		all = append(all, path)
	}
	return append(all, ".")
}

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }

func must(t testing.TB, err error) {
	t.Helper()
	require.NoError(t, err)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func day(year int) time.Time { return time.Date(year, 2, 3, 4, 5, 6, 789, time.UTC) }

// stampLog keeps every stamp that each directory ever showed.
type stampLog struct {
	t    testing.TB
	root string
	seen map[string]map[mtree.Stamp]bool
}

func logStamps(t testing.TB, root string) *stampLog {
	l := &stampLog{t, root, map[string]map[mtree.Stamp]bool{}}
	l.note()
	return l
}

func (l *stampLog) note() {
	for path, stamp := range stamps(l.t, l.root) {
		if l.seen[path] == nil {
			l.seen[path] = map[mtree.Stamp]bool{}
		}
		l.seen[path][stamp] = true
	}
}

// fresh requires that path and all directories above it show a stamp that they never showed
// before.
func (l *stampLog) fresh(what, path string) {
	l.t.Helper()
	for _, dir := range ancestors(path) {
		now := stampOf(l.t, l.root, dir)
		require.False(l.t, l.seen[dir][now], "%s: %q still shows %s", what, dir, now)
	}
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// movable is a clock that can be set.
type movable struct{ ahead atomic.Int64 }

func (m *movable) now() mtree.Stamp { return machine.Now().Add(time.Duration(m.ahead.Load())) }
