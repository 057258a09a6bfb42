package state_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

func TestPublishedState(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	st := func() wire.State {
		p, err := state.ReadPublished(d, "")
		require.NoError(t, err)
		return p.State
	}
	require.Equal(t, wire.Unwatched, st(), "no marker")
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, wire.Unwatched, st(), "no tree")
	root, err := state.RootOf(d)
	require.NoError(t, err)
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Source}
	tree.Bind(root)
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Unwatched, st(), "no status")

	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	set := func(s state.Status) { require.NoError(t, file.Write(s)) }
	lock, err := m.Lock()
	require.NoError(t, err)
	for _, s := range []wire.State{wire.Auditing, wire.Watched, wire.Degraded} {
		set(state.Status{State: s})
		require.Equal(t, s, st())
	}
	require.NoError(t, lock.Unlock())
	checkpoint := machine.Now()
	// A degraded watcher that ended was published as audited, and mirrors pruned
	// what nobody vouched for.
	require.Equal(t, wire.Degraded, st(), "dead, but it was degraded")
	set(state.Status{State: wire.Degraded, Checkpoint: &checkpoint, Boot: machine.BootID(), Clean: true})
	require.Equal(t, wire.Degraded, st())
	set(state.Status{State: wire.Auditing})
	require.Equal(t, wire.Unwatched, st(), "dead, without a checkpoint")
	set(state.Status{State: wire.Auditing, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Audited, st(), "killed while it made up for a loss: stamps hold up to the checkpoint")
	set(state.Status{State: wire.Unwatched, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Unwatched, st(), "killed in the first audit of all")
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: machine.BootID()})
	require.Equal(t, wire.Audited, st())
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another"})
	require.Equal(t, wire.Unwatched, st(), "after a power cut the stamps may be older than the checkpoint")
	set(state.Status{State: wire.Watched, Checkpoint: &checkpoint, Boot: "another", Clean: true})
	require.Equal(t, wire.Audited, st())

	tree.Role = state.Copy
	require.NoError(t, m.WriteTree(tree))
	require.Equal(t, wire.Filling, st())
	set(state.Status{State: wire.Mirrored})
	require.Equal(t, wire.Stale, st())
	lock, err = m.Lock()
	require.NoError(t, err)
	require.Equal(t, wire.Mirrored, st())
	require.NoError(t, lock.Unlock())
}

func TestStatusIsOneWriteOfFixedLength(t *testing.T) {
	top := t.TempDir()
	d := disktest.OpenRoot(t, top)
	m, err := state.CreateMarker(d, "")
	require.NoError(t, err)
	defer m.Close()
	file, err := m.CreateStatus()
	require.NoError(t, err)
	defer file.Close()
	stamp := mtree.Unix(1_700_000_000, 1)
	for _, status := range []state.Status{
		{State: wire.Watched, Checkpoint: &stamp, Counters: map[string]int64{"batches": 12345}, Error: "a long one"},
		{State: wire.Degraded},
	} {
		require.NoError(t, file.Write(status))
		got, err := m.ReadStatus()
		require.NoError(t, err)
		require.Equal(t, status, got)
		info, err := os.Stat(top + "/.tidemark/status.json")
		require.NoError(t, err)
		require.EqualValues(t, 4096, info.Size())
	}
	require.NoError(t, file.Write(state.Status{State: wire.Watched, Error: string(make([]byte, 8192))}), "too long an error is dropped")
}
