package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// tellOfAStep makes the kernel tell everybody that the clock was set, by a
// millionth of a second forward. Needs CAP_SYS_TIME.
func tellOfAStep(t testing.TB) {
	step := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: unix.Timeval{Usec: 1000}}
	_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &step)
	must(t, err)
}

// A clock that is set back is noticed at once, in a tree where nothing changes.
func TestStepIsNoticedAtOnce(t *testing.T) {
	root := newTree(t, "a/b/f = one")
	var clock movable
	r := start(t, watch.Config{Root: root, Now: clock.now})
	r.sync()
	seen := logStamps(t, root)
	epoch := r.status().Tree.Epoch
	tellOfAStep(t)
	r.sync()
	require.Equal(t, epoch, r.status().Tree.Epoch, "not set back")
	clock.ahead.Store(int64(-time.Hour))
	tellOfAStep(t)
	require.Eventually(t, func() bool { return r.status().Tree.Epoch > epoch }, deadline, time.Millisecond)
	r.await(wire.Watched)
	seen.fresh("set back", "a/b")
}

// A clock that was set back while nobody watched, but not to before the checkpoint, went
// unnoticed. What changed before the clock had caught up was never published.
func TestClockSetBackWhileDown(t *testing.T) {
	root := newTree(t, "a/b/f = one")
	start(t, watch.Config{Root: root}).stop()
	r := &running{t: t, root: root}
	for back, raised := range map[time.Duration]bool{0: false, time.Second: false, time.Minute: true} {
		epoch := r.status().Tree.Epoch
		editStatus(t, root, func(s *state.Status) {
			s.Up -= time.Hour
			*s.Updated = s.Updated.Add(back - time.Hour)
			*s.Checkpoint = s.Updated.Add(-wire.ClockLag)
		})
		start(t, watch.Config{Root: root}).stop()
		require.Equal(t, raised, r.status().Tree.Epoch > epoch, back)
	}
	// By as much as readers have to look back: what changed has ctimes from then on.
	editTree(t, root, func(tree *state.Tree) { tree.Epoch = 5 })
	editStatus(t, root, func(s *state.Status) {
		s.Up -= time.Hour
		*s.Updated = s.Updated.Add(time.Hour)
		*s.Checkpoint = s.Updated.Add(-wire.ClockLag)
	})
	begun := time.Now()
	again := start(t, watch.Config{Root: root})
	again.await(wire.Watched)
	again.stop()
	require.InDelta(t, begun.Add(-time.Hour).Unix(), int64(r.status().Tree.Epoch), 15)
}

// TestClockStepsWhileWatching: by steps of a second to ten years, forward and
// back, no change is missed and no stamp comes again; a step back, and no other,
// raises the epoch; nothing stays ahead of the clock by more than a minute.
func TestClockStepsWhileWatching(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, step := range []time.Duration{time.Second, time.Minute, 2 * time.Hour, year, 10 * year} {
		for _, first := range []time.Duration{step, -step} {
			t.Run(fmt.Sprint(first), func(t *testing.T) {
				t.Parallel() // they wait, for floors ahead of the clock
				root := newTree(t, "a/b/f = one", "c/")
				var clock movable
				r := start(t, watch.Config{Root: root, Now: clock.now})
				r.sync()
				seen := logStamps(t, root)
				epoch := r.status().Tree.Epoch
				for i, ahead := range []time.Duration{first, 0, first, 2 * first, 0} {
					back := ahead < time.Duration(clock.ahead.Load())
					clock.ahead.Store(int64(ahead))
					about := fmt.Sprintf("step %d, to %v", i, ahead)
					write(t, filepath.Join(root, "a/b/f"), about)
					must(t, os.Chtimes(filepath.Join(root, "a/b/f"), day(2001), clock.now().Time()))
					r.sync()
					require.Eventually(t, func() bool { return r.status().Tree.Epoch > epoch == back }, deadline, time.Millisecond, about)
					epoch = r.status().Tree.Epoch
					r.await(wire.Watched)
					seen.fresh(about, "a/b")
					seen.note()
					must(t, os.Remove(filepath.Join(root, "a/b/f")))
					r.sync()
					seen.fresh(about+", deleted", "a/b")
					seen.note()
					require.False(t, r.status().Status.Checkpoint.After(clock.now()), about)
					require.False(t, stampOf(t, root, ".").After(machine.Now().Add(max(ahead, 0)+watch.FloorAhead)), about)
				}
				r.stop()
				r = start(t, watch.Config{Root: root, Now: clock.now})
				write(t, filepath.Join(root, "c/f"), "after a restart")
				r.sync()
				seen.fresh("restarted", "c")
			})
		}
	}
}
