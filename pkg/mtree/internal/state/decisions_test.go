package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/wire"
)

// The stamp of a directory that refuses it counts for that directory alone.
func TestStampOf(t *testing.T) {
	var none *Exceptions
	_, ok := none.StampOf("a", 5)
	require.False(t, ok || none.Refuses("a"))
	have := &Exceptions{Stamps: map[string]Refusal{"a": {Inode: 5, Stamp: mtree.Unix(1, 0)}}}
	stamp, ok := have.StampOf("a", 5)
	require.True(t, ok && have.Refuses("a"))
	require.Equal(t, mtree.Unix(1, 0), stamp)
	_, ok = have.StampOf("a", 6)
	require.False(t, ok)
	_, ok = have.StampOf("b", 0)
	require.False(t, ok || have.Refuses("b"))
}

// In which state readers see a tree. "Watched" or "mirrored" of a tree that nobody keeps
// makes them believe stamps that are out of date.
func TestPublishedState(t *testing.T) {
	root := disktest.OpenRoot(t, t.TempDir())
	checkpoint := mtree.Unix(1, 0)
	for _, c := range []struct {
		role          Role
		status        Status
		locked, bound bool
		want          wire.State
	}{
		{Source, Status{State: wire.Watched}, true, true, wire.Watched},
		{Source, Status{State: wire.Watched}, true, false, wire.Unwatched},
		{Source, Status{State: wire.Degraded}, true, true, wire.Degraded},
		{Source, Status{}, true, true, wire.Unwatched},
		{Source, Status{Checkpoint: &checkpoint, Clean: true}, true, true, wire.Unwatched},
		{Source, Status{State: wire.Unwatched, Checkpoint: &checkpoint, Clean: true}, false, true, wire.Unwatched},
		{Source, Status{State: wire.Watched, Checkpoint: &checkpoint, Clean: true}, false, true, wire.Audited},
		{Source, Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: machine.BootID()}, false, true, wire.Audited},
		{Source, Status{State: wire.Watched, Checkpoint: &checkpoint}, false, true, wire.Unwatched},
		{Source, Status{State: wire.Watched}, false, true, wire.Unwatched},
		{Source, Status{State: wire.Degraded}, false, true, wire.Degraded},
		{Copy, Status{State: wire.Mirrored}, true, true, wire.Mirrored},
		{Copy, Status{State: wire.Mirrored}, false, true, wire.Stale},
		{Copy, Status{State: wire.Mirrored}, true, false, wire.Unwatched},
		{Copy, Status{State: wire.Mirrored, Walked: true}, true, true, wire.Unwatched},
		{Copy, Status{State: wire.Filling}, true, true, wire.Filling},
		{Copy, Status{State: wire.Filling, Walked: true}, true, true, wire.Filling},
		{Copy, Status{}, false, true, wire.Filling},
	} {
		require.Equal(t, c.want, publishedState(Tree{Role: c.role}, c.status, c.locked, c.bound, root), "%+v", c)
	}
}

// What a reader may rely on in a tree, by its role and state.
func TestWhatIsPublished(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		p                            Published
		isCopy, hasExceptions, cross bool
	}{
		{Published{State: wire.Watched, Tree: Tree{Role: Source}, Bound: true}, false, false, false},
		{Published{State: wire.Watched, Tree: Tree{Role: Source}, Status: Status{Stamps: 1, CrossMounts: &yes}}, false, true, true},
		{Published{State: wire.Watched, Tree: Tree{Role: Source}, Status: Status{Unread: 1, CrossMounts: &no}}, false, true, false},
		{Published{State: wire.Unwatched, Tree: Tree{Role: Source}, Status: Status{Stamps: 1, CrossMounts: &no}}, false, false, true},
		{Published{State: wire.Mirrored, Tree: Tree{Role: Copy}, Bound: true, Status: Status{Unread: 1, CrossMounts: &yes}}, true, true, false},
		{Published{State: wire.Mirrored, Tree: Tree{Role: Copy}, Status: Status{Unread: 1}}, false, false, false},
	} {
		require.Equal(t, c.isCopy, c.p.IsCopy(), "%+v", c)
		require.Equal(t, c.hasExceptions, c.p.HasExceptions(), "%+v", c)
		require.Equal(t, c.cross, c.p.Crosses(), "%+v", c)
	}
}

// A checkpoint holds after an orderly stop, or in the same boot while the disk stayed.
func TestCheckpointHolds(t *testing.T) {
	at := mtree.Unix(1, 0)
	for _, c := range []struct {
		status  Status
		mounted string
		want    bool
	}{
		{Status{Clean: true}, "", false},
		{Status{Checkpoint: &at}, "", false},
		{Status{Checkpoint: &at, Clean: true, Mounted: "a"}, "b", true},
		{Status{Checkpoint: &at, Boot: "another"}, "", false},
		{Status{Checkpoint: &at, Boot: machine.BootID()}, "", true},
		{Status{Checkpoint: &at, Boot: machine.BootID(), Mounted: "a"}, "a", true},
		{Status{Checkpoint: &at, Boot: machine.BootID(), Mounted: "a"}, "b", false},
		{Status{Checkpoint: &at, Boot: machine.BootID(), Mounted: "a"}, "", true},
		{Status{Checkpoint: &at, Boot: machine.BootID()}, "b", true},
	} {
		require.Equal(t, c.want, c.status.CheckpointHolds(c.mounted), "%+v", c)
	}
}

// A copy is as current as its source has said last, and never less than what it copied.
func TestCurrent(t *testing.T) {
	early, late := mtree.Unix(1, 0), mtree.Unix(2, 0)
	for _, c := range []struct{ checkpoint, confirmed, want *mtree.Stamp }{
		{nil, nil, nil}, {&early, nil, &early}, {nil, &early, &early}, {&early, &late, &late}, {&late, &early, &late},
	} {
		require.Equal(t, c.want, (&Status{Checkpoint: c.checkpoint, Confirmed: c.confirmed}).Current())
	}
}
