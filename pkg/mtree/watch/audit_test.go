package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
)

// By what an audit takes a directory for changed: an entry's ctime at or after
// the checkpoint less 10 s; or above both the directory's stamp and the start of
// the audit before, which is a write that no event told of.
func TestGroundsOfAnEntry(t *testing.T) {
	a := &audit{grounds: grounds{since: at(1000), before: at(500)}}
	for _, c := range []struct {
		name         string
		stamp, ctime int64
		want         bool
	}{
		{"long published", 400, 300, false},
		{"since the checkpoint", 2000, 1000, true},
		{"just before it", 2000, 999, false},
		{"above the stamp, since the last audit", 600, 700, true},
		{"above the stamp, but the last audit saw it", 300, 400, false},
		{"below the stamp", 800, 700, false},
	} {
		v := &visit{info: disk.Info{MTime: at(c.stamp)}}
		require.Equal(t, c.want, a.judge(v, disk.Info{CTime: at(c.ctime)}), c.name)
	}
}

// By what it takes a directory itself for changed, and all below it with it.
func TestGroundsOfADirectory(t *testing.T) {
	root := newTree(t)
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	shows := selfOf(t, dir)
	w := &watcher{ownWrites: ownwrites.New(nil, nil, at(0))}
	child := func(info disk.Info) *visit { return &visit{parent: &visit{}, dir: dir, info: info} }
	old := grounds{since: shows.CTime.Add(1), floor: at(0)}
	now := machine.Now()

	v := child(shows)
	require.False(t, (&audit{watcher: w, grounds: old}).judgeSelf(v, now), "nothing since the checkpoint")
	v = child(shows)
	require.True(t, (&audit{watcher: w, grounds: grounds{all: true}}).judgeSelf(v, now), "continuity in doubt")
	recent := grounds{since: shows.CTime, floor: at(0)}
	v = child(shows)
	require.True(t, (&audit{watcher: w, grounds: recent}).judgeSelf(v, now))
	require.True(t, v.arrived, "its ctime may mean that it was moved here")
	v = &visit{dir: dir, info: shows}
	require.True(t, (&audit{watcher: w, grounds: recent}).judgeSelf(v, now))
	require.False(t, v.arrived, "the root cannot arrive")
	v = child(shows)
	v.arrived = true
	require.True(t, (&audit{watcher: w, grounds: old}).judgeSelf(v, now), "one above it arrived")
	ahead := shows
	ahead.MTime = now.Add(1e9)
	require.True(t, (&audit{watcher: w, grounds: old}).judgeSelf(child(ahead), now), "above the clock and the floor")
	published := old
	published.floor = ahead.MTime
	require.False(t, (&audit{watcher: w, grounds: published}).judgeSelf(child(ahead), now), "our own, from a floor ahead")
	w.ownWrites.Put(shows, ownwrites.Proven, true)
	v = child(shows)
	require.False(t, (&audit{watcher: w, grounds: recent}).judgeSelf(v, now), "what our last batch left")
	require.False(t, v.arrived)
}
