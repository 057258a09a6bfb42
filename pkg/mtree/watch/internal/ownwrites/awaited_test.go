package ownwrites_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// Own writes are told from others by their number.
func TestAwaited(t *testing.T) {
	var a ownwrites.Awaited
	m := ownwrites.New(nil, nil, at(0))
	shows := disk.Info{Node: disk.Node{Dev: 1, Ino: 2}, MTime: at(5), CTime: at(5), Mode: 0o755}
	require.False(t, a.TellsOurs())
	require.False(t, a.Heard(shows, 1))
	a.Add(m, shows, shows, false)
	a.Add(m, shows, shows, false)
	other := shows
	other.Node.Dev = 2
	require.False(t, a.Heard(other, 1), "another directory")
	require.True(t, a.Heard(shows, 1))
	require.True(t, a.Heard(shows, 1))
	require.False(t, a.Heard(shows, 1))
	a.Add(m, shows, shows, false)
	require.False(t, a.Heard(shows, 2), "one of them is somebody else's")
	require.False(t, a.Heard(shows, 1), "that one was ours")
	a.Add(m, shows, shows, false)
	require.True(t, a.TellsOurs())
	a.Clear()
	require.False(t, a.Heard(shows, 1))
	require.True(t, a.TellsOurs())
}

// The kernel makes one event of two that are equal, if one directly follows the other: one of
// the root, whose events no other directory has. So a write does not count after somebody set
// times or mode; and where the mode is another one, somebody set it since.
func TestAwaitedOfTwoThatAreOne(t *testing.T) {
	m := ownwrites.New(nil, nil, at(0))
	changed := disk.Info{Node: disk.Node{Ino: 2}, MTime: at(5), CTime: at(5), Mode: 0o755, UID: 7, GID: 8}
	set := changed
	set.CTime = at(6)
	after := changed
	after.MTime, after.CTime = at(4), at(7)
	var a ownwrites.Awaited
	a.Add(m, set, after, true)
	require.False(t, a.Heard(after, 1), "somebody set its mode before us")
	m.Put(set, 0, ownwrites.Unproven, true)
	a.Add(m, set, after, true)
	require.True(t, a.Heard(after, 1), "we had")
	a.Add(m, changed, after, true)
	a.Add(m, changed, after, true)
	require.False(t, a.Heard(after, 2), "ours may be one event")
	a.Add(m, changed, after, true)
	other := after
	other.Node.Ino = 9
	a.Add(m, other, other, false)
	a.Add(m, changed, after, true)
	require.True(t, a.Heard(after, 2), "another event stands between")
	a.Add(m, set, other, false)
	require.True(t, a.Heard(other, 2), "each has its own event")
	for _, set := range []func(i *disk.Info){
		func(i *disk.Info) { i.Mode = 0o700 },
		func(i *disk.Info) { i.UID = 0 },
		func(i *disk.Info) { i.GID = 0 },
	} {
		a.Add(m, changed, after, true)
		now := after
		set(&now)
		require.False(t, a.Heard(now, 1))
	}
}
