package audit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/wire"
)

// An audit takes a directory for changed by an entry's ctime: at or after the checkpoint
// less 10 s; or above both the directory's stamp and the start of the audit before, which is
// a write that no event told of.
func TestGroundsOfAnEntry(t *testing.T) {
	s := &scan{Scope: Scope{Since: at(1000), Before: at(500)}}
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
		require.Equal(t, c.want, s.judge(v, disk.Info{CTime: at(c.ctime)}), c.name)
	}
}

// What makes an audit take a directory itself for changed, and everything below it.
func TestGroundsOfADirectory(t *testing.T) {
	root := t.TempDir()
	dir, err := disk.OpenRoot(root)
	require.NoError(t, err)
	defer dir.Close()
	shows := selfOf(t, dir)
	w := ownwrites.New(nil, nil, at(0))
	child := func(info disk.Info) *visit { return &visit{parent: &visit{}, dir: dir, info: info} }
	old := Scope{Since: shows.CTime.Add(1), Floor: at(0)}
	now := machine.Now()

	v := child(shows)
	require.False(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: old}).judgeSelf(v, now), "nothing since the checkpoint")
	require.False(t, v.below)
	v = child(shows)
	require.True(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: Scope{All: true}}).judgeSelf(v, now), "continuity in doubt")
	require.True(t, v.below)
	recent := Scope{Since: shows.CTime, Floor: at(0)}
	v = child(shows)
	require.True(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: recent}).judgeSelf(v, now))
	require.True(t, v.arrived, "its ctime may mean that it was moved here")
	require.True(t, v.below)
	v = &visit{dir: dir, info: shows}
	require.True(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: recent}).judgeSelf(v, now))
	require.False(t, v.arrived, "the root cannot arrive")
	require.True(t, v.below, "but what is in it may be anything")
	v = child(shows)
	v.arrived = true
	require.True(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: old}).judgeSelf(v, now), "one above it arrived")
	require.True(t, v.below)
	ahead := shows
	ahead.MTime = now.Add(1e9)
	v = child(ahead)
	require.True(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: old}).judgeSelf(v, now), "above the clock and the floor")
	require.False(t, v.below)
	published := old
	published.Floor = ahead.MTime
	require.False(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: published}).judgeSelf(child(ahead), now), "our own, from a floor ahead")
	w.Put(shows, 0, ownwrites.Proven, true)
	v = child(shows)
	require.False(t, (&scan{Tree: Tree{OwnWrites: w}, Scope: recent}).judgeSelf(v, now), "what our last batch left")
	require.False(t, v.arrived)
}

// A rename just before our write leaves no trace except its event. Until a Take after the
// write has told of it, the write does not prove that the directory did not arrive. After a
// loss it never does.
func TestOurWriteHidesARename(t *testing.T) {
	root := t.TempDir()
	dir, err := disk.OpenRoot(root)
	require.NoError(t, err)
	defer dir.Close()
	shows := selfOf(t, dir)
	arrived := func(l *ownwrites.Memory) bool {
		v := &visit{parent: &visit{}, dir: dir, info: shows}
		s := &scan{Tree: Tree{OwnWrites: l}, Scope: Scope{Since: shows.CTime, Floor: at(0)}}
		return s.judgeSelf(v, machine.Now()) && v.arrived
	}
	l := ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Unproven, true)
	require.True(t, l.Untouched(dir, shows), "our own event is known at once")
	require.True(t, arrived(l))
	require.True(t, l.EndTake(true), "it waits for a Take")
	require.True(t, arrived(l))
	l.BeginTake()
	require.True(t, l.Untouched(dir, shows))
	require.True(t, arrived(l), "what the Take told of is not published yet")
	l.EndTake(true)
	require.False(t, arrived(l))

	l = ownwrites.New(nil, nil, at(0))
	l.Put(shows, 0, ownwrites.Unproven, true)
	l.BeginTake()
	l.Lost()
	l.EndTake(true)
	require.True(t, arrived(l))
}

// On a file system that keeps whole seconds, a ctime was judged while it could still be that of
// a later rename: what arrived in that second passed for what had been there.
func TestTooYoungToBeJudged(t *testing.T) {
	fine, coarse := &scan{Tree: Tree{Granule: 1}}, &scan{Tree: Tree{Granule: time.Second}}
	require.Equal(t, at(5), fine.judged(at(5), at(5).Add(100*time.Millisecond)))
	require.Zero(t, fine.judged(at(5), at(5).Add(wire.ClockLag)))
	require.Zero(t, coarse.judged(at(5), at(6).Add(wire.ClockLag)))
	require.Equal(t, at(5), coarse.judged(at(5), at(6).Add(wire.ClockLag+1)))

	mounted := &scan{Tree: Tree{Granule: 1, CrossMounts: true}} // what is mounted may be coarser
	require.Zero(t, mounted.judged(at(5), at(6).Add(wire.ClockLag)))
	require.Equal(t, at(5), mounted.judged(at(5), at(6).Add(wire.ClockLag+1)))
	require.Zero(t, mounted.judged(at(4), at(6).Add(wire.ClockLag)))
	require.Equal(t, at(5).Add(1), mounted.judged(at(5).Add(1), at(5).Add(100*time.Millisecond)), "that is fine")
}

func selfOf(t *testing.T, d *disk.Dir) disk.Info {
	t.Helper()
	info, err := d.Self()
	require.NoError(t, err)
	return info
}

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }

// A subvolume in the root was exchanged for a snapshot of another one, which has the times, the
// inode and the birth time of that. Only the root shows that something happened. What is mounted has a
// record of its own.
func TestSubvolumeThatWasExchanged(t *testing.T) {
	for _, c := range []struct {
		what             string
		subvolume, mount bool
		changed          string
		want             string
	}{
		{"a subvolume", true, false, "", ". sub sub/d"},
		{"below the root", true, false, "c", "c"},
		{"nothing changed", true, false, "-", ""},
		{"another directory", false, false, "", "."},
		{"a mount", true, true, "", "."},
	} {
		s := newSurvey(t, "sub/d/", "c/")
		s.CrossMounts = true
		s.Show = func(call string, stx *unix.Statx_t) {
			if c.subvolume && (call == "statx sub" || call == "statx d") {
				stx.Dev_minor++
			}
			if c.mount && call == "statx sub" {
				stx.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
			}
		}
		if c.changed != "-" {
			s.change(c.changed)
		}
		require.Equal(t, c.want, s.run(), c.what)
	}
}
