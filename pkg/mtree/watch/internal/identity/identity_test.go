package identity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
)

// A clock that moved by less than the time that has passed was set back. Some seconds do
// not count, and after a boot nothing is known.
func TestClockWasSetBack(t *testing.T) {
	updated := mtree.Unix(1_000_000, 0)
	status := state.Status{Updated: &updated, Up: time.Hour, Boot: machine.BootID()}
	setBack := func(s state.Status, by time.Duration) bool {
		id := Identity{Status: s}
		return id.clockSetBack(updated.Add(time.Hour-by), s.Up+time.Hour)
	}
	require.False(t, setBack(status, 0))
	require.False(t, setBack(status, 3600*time.Millisecond), "a part in a thousand: slowed down")
	require.False(t, setBack(status, 5*time.Second))
	require.True(t, setBack(status, 10*time.Second))
	require.True(t, setBack(status, 24*time.Hour))

	status.Boot = "another"
	require.False(t, setBack(status, 24*time.Hour), "after a boot nothing is known")
}

// The bounds of that: what is not known is not counted, and nothing passed is nothing.
func TestClockIsNotKnown(t *testing.T) {
	updated := mtree.Unix(1_000_000, 0)
	whole := state.Status{Updated: &updated, Up: time.Hour, Boot: machine.BootID()}
	for _, spoil := range []func(s *state.Status){
		func(s *state.Status) { s.Updated = nil },
		func(s *state.Status) { s.Up = 0 },
	} {
		s := whole
		spoil(&s)
		require.False(t, (&Identity{Status: s}).clockSetBack(updated.Add(-time.Hour), 2*time.Hour))
	}
	id := Identity{Status: whole}
	require.True(t, id.clockSetBack(updated.Add(-time.Minute), time.Hour))
	require.False(t, id.clockSetBack(updated.Add(-time.Minute), time.Hour-1), "of another boot all the same")
}

// A file was rewritten after the clock was set back, and its time was put back, while nobody watched.
// The epoch was named by the time of the start, hours later, so a mirror took the file's ctime for
// one from before its copy.
func TestWhenAnEpochBegins(t *testing.T) {
	updated := mtree.Unix(1_000_000, 0)
	id := Identity{Status: state.Status{Updated: &updated, Up: time.Hour, Boot: machine.BootID()}}
	now := updated.Add(3*time.Hour - 20*time.Minute)
	require.Equal(t, updated.Add(-20*time.Minute), id.EpochBegins(now, 4*time.Hour))
	require.Equal(t, now.Add(20*time.Minute), id.EpochBegins(now.Add(20*time.Minute), 4*time.Hour), "nobody set it")
	id.First = true
	require.Equal(t, now, id.EpochBegins(now, 4*time.Hour))
}

// A checkpoint is relied on only if nothing speaks against it. Otherwise what changed
// while nobody watched would stay unpublished.
func TestDoubts(t *testing.T) {
	now := mtree.Unix(1_000_000, 0)
	checkpoint, ahead, updated := now.Add(-time.Minute), now.Add(1), now.Add(-time.Hour)
	for _, c := range []struct {
		id   Identity
		want string
	}{
		{Identity{First: true, Doubt: true}, ""},
		{Identity{Doubt: true, Status: state.Status{Checkpoint: &checkpoint, Clean: true}}, "another root, or a lost tree file"},
		{Identity{Status: state.Status{Clean: true}}, "no checkpoint"},
		{Identity{Status: state.Status{Checkpoint: &checkpoint}}, "the checkpoint is older than the last boot, or the disk was away since"},
		{Identity{Status: state.Status{Checkpoint: &ahead, Clean: true}}, "the checkpoint is ahead of the clock"},
		{Identity{Status: state.Status{Checkpoint: &now, Clean: true}}, ""},
		{Identity{Status: state.Status{Checkpoint: &checkpoint, Clean: true}}, ""},
		{Identity{Status: state.Status{Checkpoint: &checkpoint, Boot: machine.BootID()}}, ""},
		{Identity{Mounted: "b", Status: state.Status{Checkpoint: &checkpoint, Boot: machine.BootID(), Mounted: "a"}},
			"the checkpoint is older than the last boot, or the disk was away since"},
		{Identity{Status: state.Status{Checkpoint: &checkpoint, Clean: true, Boot: machine.BootID(), Updated: &now, Up: 1}},
			"the clock was set back while nobody watched"},
		{Identity{Status: state.Status{Checkpoint: &checkpoint, Clean: true, Boot: machine.BootID(), Updated: &updated, Up: machine.Uptime()}}, ""},
	} {
		require.Equal(t, c.want, c.id.Doubts(now), "%+v", c.id)
	}
}

// New stamps lie above the floor, so above every stamp that readers have. A root whose
// time lies ahead would push it there for ever.
func TestLastFloor(t *testing.T) {
	now, floor := mtree.Unix(1_000_000, 0), mtree.Unix(500_000, 0)
	with, without := Identity{Status: state.Status{Floor: &floor}}, Identity{}
	require.Equal(t, floor, with.LastFloor(floor.Add(-1), now))
	require.Equal(t, floor.Add(1), with.LastFloor(floor.Add(1), now))
	require.Equal(t, now, with.LastFloor(now, now))
	require.Equal(t, floor, with.LastFloor(now.Add(1), now))
	require.Equal(t, now, without.LastFloor(now, now))
	require.Equal(t, mtree.MinStamp, without.LastFloor(now.Add(1), now))
}
