package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// A copy names its own source first, and then the upstreams that this source names.
func TestChain(t *testing.T) {
	at := mtree.Unix(7, 5)
	upstreams := []wire.Upstream{{Host: "a.example:8077", Root: mtree.Unix(1, 2), Checkpoint: &at, Copy: "0123456789abcdef"}, {Host: "local", Root: mtree.Unix(-3, 4)}}
	p := state.Published{Tree: state.Tree{Role: state.Copy, Upstream: "http://u:p@up:1/secret/"}, Status: state.Status{Root: &at, Upstreams: wire.FormatUpstreams(upstreams)}}
	require.Equal(t, append([]wire.Upstream{{Host: "up:1", Root: at}}, upstreams...), p.Upstreams())
	require.Empty(t, (&state.Published{}).Upstreams())
}

// The upstreams of an idle copy said that it was further and further behind.
func TestTheChainOfAnIdleCopy(t *testing.T) {
	before, after := mtree.Unix(7, 5), mtree.Unix(1000, 0)
	p := state.Published{Tree: state.Tree{Role: state.Copy, Upstream: "http://up:1"}, Status: state.Status{Root: &before, Checkpoint: &before, Confirmed: &after}}
	require.Equal(t, after, *p.Upstreams()[0].Checkpoint)
	p.Status.Confirmed = nil
	require.Equal(t, before, *p.Upstreams()[0].Checkpoint)
	require.Nil(t, (&state.Status{}).Current())
}

// Two copies of each other did not notice it. A clone of a copy's disk is no ring.
func TestAChainThatComesBack(t *testing.T) {
	at := mtree.Unix(7, 5)
	us := state.Tree{Role: state.Copy, Upstream: "http://b:1", Copy: "0123456789abcdef"}
	ours := state.Published{Tree: us, Status: state.Status{Root: &at}}
	theirs := state.Published{Tree: state.Tree{Role: state.Copy, Upstream: "http://a:1", Copy: "fedcba9876543210"}, Status: state.Status{Root: &at, Upstreams: wire.FormatUpstreams(ours.Upstreams())}}
	require.True(t, us.CameBy(wire.FormatUpstreams(theirs.Upstreams())))
	require.False(t, us.CameBy(""))
	us.Upstream = "http://clone:1"
	require.False(t, us.CameBy(wire.FormatUpstreams(theirs.Upstreams())))
	us.Copy = ""
	require.False(t, us.CameBy(wire.FormatUpstreams(theirs.Upstreams())))
}

// A copy may be made from another one of its sources than when the ring began.
func TestACopyCameByAnyOfItsSources(t *testing.T) {
	us := state.Tree{Role: state.Copy, Upstream: "http://b:1", Copy: "0123456789abcdef", Sources: []string{"http://a:1", "http://b:1"}}
	require.True(t, us.CameBy("b:1#0123456789abcdef 7.000000000 -"))
	require.True(t, us.CameBy("a:1#0123456789abcdef 7.000000000 -"))
	require.False(t, us.CameBy("c:1#0123456789abcdef 7.000000000 -"))
	require.False(t, us.CameBy("a:1#fedcba9876543210 7.000000000 -"))
}

// Published has the time that a running mirror announces, even if the status file is
// older.
func TestPublishedIsWhatARunningMirrorTells(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Copy, Upstream: "http://up:1"}
	require.NoError(t, m.WriteTree(tree))
	beacon, err := m.CreateBeacon()
	require.NoError(t, err)
	require.NoError(t, beacon.Announce(1000))
	p, err := m.Published()
	require.NoError(t, err)
	require.Nil(t, p.Status.Confirmed, "nobody keeps it")
	lock, err := m.Lock()
	require.NoError(t, err)
	p, err = m.Published()
	require.NoError(t, err)
	require.Equal(t, mtree.Unix(1000, 0), *p.Upstreams()[0].Checkpoint)
	require.NoError(t, lock.Unlock())
	require.NoError(t, beacon.Close())
}
