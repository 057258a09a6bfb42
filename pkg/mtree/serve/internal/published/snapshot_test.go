package published

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// While somebody reads the tree's state anew, others get the last snapshot, but never one
// that is old because nobody asked for seconds: a long poll that ended just when the state
// was looked at told an epoch that was over.
func TestSnapshotsAreRecent(t *testing.T) {
	tree, err := Open(Config{Root: t.TempDir(), Exclude: &glob.List{}, Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	defer tree.Close()
	aged := func(age time.Duration) *Snapshot {
		s := *tree.latest.Load()
		s.taken = time.Now().Add(-age)
		tree.latest.Store(&s)
		return &s
	}
	tree.mu.Lock() // somebody reads
	s := aged(snapshotAge + time.Millisecond)
	require.Same(t, s, tree.Now())
	old := aged(time.Minute)
	told := make(chan *Snapshot, 1)
	go func() { told <- tree.Now() }()
	select {
	case <-told:
		require.Fail(t, "a minute old")
	case <-time.After(50 * time.Millisecond):
	}
	fresh := aged(-time.Minute)
	tree.mu.Unlock()
	require.Same(t, fresh, <-told)
	require.NotSame(t, old, fresh)
}

// A snapshot serves until it is snapshotAge old, and while another is read until it is
// twice as old. It costs nothing as long.
func TestAgeOfSnapshots(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		tree := w.open(Config{})
		first := tree.Now()
		w.Made("")
		pass(snapshotAge - 1)
		require.Same(t, first, tree.Now())
		require.Equal(t, 0, w.Made(""))
		pass(1)
		second := tree.Now()
		require.NotSame(t, first, second)
		require.Positive(t, w.Made(""))
		require.Same(t, second, tree.Now())

		pass(2*snapshotAge - 1)
		tree.mu.Lock() // somebody reads
		require.Same(t, second, tree.Now())
		tree.mu.Unlock()
		require.NotSame(t, second, tree.Now())
	})
}

// Who was read anew says the same to readers if its headers are those of before, and its
// listings too.
func TestSame(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(source(), state.Status{State: wire.Watched})
		tree := w.open(Config{})
		s := tree.Now()
		require.True(t, s.Same(tree.Reread()))
		for what, change := range map[string]func(s *Snapshot){
			"state":       func(s *Snapshot) { s.State = wire.Degraded },
			"fingerprint": func(s *Snapshot) { s.Fingerprint = "abcdef" },
			"root":        func(s *Snapshot) { s.Replaced = true },
			"exceptions":  func(s *Snapshot) { s.Status.Exceptions++ },
		} {
			other := *s
			change(&other)
			require.False(t, s.Same(&other), what)
			require.False(t, other.Same(s), what)
		}
	})
}

// run is what the tree file of a source with this run says.
func run(id string) state.Tree {
	tree := source()
	tree.Runs = []wire.Run{{ID: id}}
	return tree
}

// The runs that are told with a stamp of the root were read after it. They are read once for
// each stamp.
func TestRunsAt(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.says(run("0000000000000001"), state.Status{State: wire.Watched})
		require.NoError(t, w.Shell.Touch("/tree", time.Unix(100, 5), true))
		tree := w.open(Config{})
		w.says(run("0000000000000002"), state.Status{State: wire.Watched})
		w.Made("")
		require.Equal(t, []string{"0000000000000001 -"}, tree.RunsAt(mtree.Unix(100, 5)))
		require.Equal(t, 0, w.Made(""))
		require.NoError(t, w.Shell.Touch("/tree", time.Unix(101, 5), true))
		require.Equal(t, []string{"0000000000000002 -"}, tree.RunsAt(mtree.Unix(101, 5)))
		require.Positive(t, w.Made(""))
		require.Equal(t, []string{"0000000000000002 -"}, tree.Now().Runs)
		require.Equal(t, []string{"0000000000000002 -"}, tree.RunsAt(mtree.Unix(101, 5)))
		require.Equal(t, 0, w.Made(""))
	})
}

// Whoever knows the runs need not wait for somebody who reads. Who waited takes what was
// read meanwhile.
func TestRunsWhileSomebodyReads(t *testing.T) {
	w := newWorld(t, 0)
	w.says(run("0000000000000001"), state.Status{State: wire.Watched})
	require.NoError(t, w.Shell.Touch("/tree", time.Unix(100, 5), true))
	tree := w.open(Config{})
	runs := func(sec int64) chan []string {
		told := make(chan []string, 1)
		go func() { told <- tree.RunsAt(mtree.Unix(sec, 5)) }()
		return told
	}
	tree.mu.Lock()
	select {
	case <-runs(100):
	case <-time.After(30 * time.Second):
		require.Fail(t, "it waits")
	}
	told := runs(101)
	select {
	case <-told:
		require.Fail(t, "of another stamp")
	case <-time.After(50 * time.Millisecond):
	}
	read := *tree.latest.Load()
	read.root, read.Runs = mtree.Unix(101, 5), []string{"read meanwhile"}
	tree.latest.Store(&read)
	tree.mu.Unlock()
	require.Equal(t, []string{"read meanwhile"}, <-told)
}
