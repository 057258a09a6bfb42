package mirror

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// tree is the source of a test. Its methods publish changes as watch would.
type tree struct {
	t      testing.TB
	root   string
	dir    *disk.Dir
	marker *state.Marker
	lock   *state.Lock
	status *state.StatusFile
	id     state.Tree
}

// newTree makes a source that is not watched yet.
func newTree(t testing.TB, lines ...string) *tree {
	s := &tree{t: t, root: filepath.Join(t.TempDir(), "source")}
	require.NoError(t, os.Mkdir(s.root, 0o755))
	testtree.Make(t, s.root, lines...)
	return s
}

// watched makes a source with a live watcher.
func watched(t testing.TB, lines ...string) *tree {
	s := newTree(t, lines...)
	s.watch()
	return s
}

func (s *tree) watch() {
	var err error
	s.dir, err = disk.OpenRoot(s.root)
	require.NoError(s.t, err)
	s.marker, err = state.CreateMarker(s.dir, "")
	require.NoError(s.t, err)
	s.lock, err = s.marker.Lock()
	require.NoError(s.t, err)
	s.status, err = s.marker.CreateStatus()
	require.NoError(s.t, err)
	info, err := state.RootOf(s.dir)
	require.NoError(s.t, err)
	s.id = state.Tree{ID: state.NewTreeID(), Epoch: 1, Role: state.Source}
	s.id.Bind(info)
	require.NoError(s.t, s.marker.WriteTree(s.id))
	s.state(wire.Watched)
	s.t.Cleanup(func() {
		_ = s.lock.Unlock()
		_ = s.status.Close()
		_ = s.marker.Close()
		_ = s.dir.Close()
	})
}

func (s *tree) state(st wire.State) {
	require.NoError(s.t, s.status.Write(state.Status{State: st}))
}

func (s *tree) epoch(n uint64) {
	s.id.Epoch = n
	require.NoError(s.t, s.marker.WriteTree(s.id))
}

// change makes entries and publishes the directories above them.
func (s *tree) change(lines ...string) {
	s.t.Helper()
	testtree.Make(s.t, s.root, lines...)
	s.publishAll(lines...)
}

// publish gives the directories above path, and path itself if it is a directory, a new
// stamp, deepest first.
func (s *tree) publish(path string) {
	s.t.Helper()
	at := machine.Now()
	full := filepath.Join(s.root, path)
	if info, err := os.Lstat(full); err != nil || !info.IsDir() {
		full = filepath.Dir(full)
	}
	for {
		require.NoError(s.t, os.Chtimes(full, time.Time{}, at.Time()))
		if full == s.root {
			return
		}
		full = filepath.Dir(full)
	}
}

func (s *tree) publishAll(lines ...string) {
	for _, line := range lines {
		path := regexp.MustCompile(`^("[^"]*"|\S+)`).FindString(line)
		if plain, err := strconv.Unquote(path); err == nil {
			path = plain
		}
		s.publish(path)
	}
}

func (s *tree) remove(path string) {
	s.t.Helper()
	require.NoError(s.t, os.RemoveAll(filepath.Join(s.root, path)))
	s.publish(path)
}

func (s *tree) path(name string) string { return filepath.Join(s.root, name) }

// bench is the copy of a test, and the output of its mirror.
type bench struct {
	t      testing.TB
	config Config
	out    bytes.Buffer
	stats  *Stats
	server *server // nil: the source is a directory
}

func newBench(t testing.TB, source string) *bench {
	b := &bench{t: t, stats: &Stats{}}
	b.config = Config{Source: source, Dest: filepath.Join(t.TempDir(), "copy"), Stats: b.stats, Log: testLog(t), FirstPause: time.Millisecond}
	return b
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(line))
	return len(line), nil
}

// once runs Once and returns its error.
func (b *bench) once() error {
	b.t.Helper()
	b.out.Reset()
	b.config.Out = &b.out
	err := Once(context.Background(), b.config)
	b.t.Logf("%s(%v)", b.out.String(), err)
	return err
}

// equal runs Once and requires the copy to equal the source.
func (b *bench) equal(s *tree) {
	b.t.Helper()
	require.NoError(b.t, b.once())
	b.same(s)
}

func (b *bench) same(s *tree) {
	b.t.Helper()
	diff, err := testtree.Differences(s.root, b.config.Dest)
	require.NoError(b.t, err)
	require.Empty(b.t, diff, "source | copy")
}

// requireIdle runs Once and requires that it did nothing but ask for the root.
func (b *bench) requireIdle() {
	b.t.Helper()
	if b.server != nil {
		b.server.requests()
	}
	require.NoError(b.t, b.once())
	if b.server != nil {
		// The last poll of a daemon that was stopped may come in this late; a
		// single pass never asks to wait.
		asked := slices.DeleteFunc(b.server.requests(), func(r string) bool { return strings.Contains(r, "wait=") })
		require.Equal(b.t, []string{"GET /?txt"}, asked)
	}
	require.Contains(b.t, b.out.String(), "listed 0 directories, fetched 0 files (0 bytes), deleted 0, held 0, skipped 0, failed 0, in ")
}

func (b *bench) path(name string) string { return filepath.Join(b.config.Dest, name) }

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	require.NoError(b.t, err)
	return string(text)
}

func (b *bench) published() state.Published {
	d, err := disk.OpenRoot(b.config.Dest)
	require.NoError(b.t, err)
	defer d.Close()
	p, err := state.ReadPublished(d, "")
	require.NoError(b.t, err)
	return p
}

func (b *bench) status() state.Status { return b.published().Status }

func (b *bench) record(name string) (records.Record, bool) {
	d, err := disk.OpenRoot(b.path(name))
	require.NoError(b.t, err)
	defer d.Close()
	return records.Of(d)
}

// isUnfinished reports whether a directory with this record was begun, and nothing is doubted.
func isUnfinished(r records.Record) bool {
	doubts, begun := replica.DoubtsOf(r)
	return begun && doubts == 0
}

// counters returns those of the copy's status.
func (b *bench) counters() replica.Counters {
	status := b.status()
	return replica.CountersOf(&status)
}
