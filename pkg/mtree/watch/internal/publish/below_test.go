package publish

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// A directory whose mode, owner or times somebody set is stamped, with those above it. Our
// own writes are not such, nor what happens where times do not hold: another stamp would
// cause one more event.
func TestSelf(t *testing.T) {
	for _, c := range []struct {
		what    string
		prepare func(g *ground)
		stamped string
	}{
		{"somebody set its mode", func(g *ground) { require.NoError(t, g.Shell.Chmod("/tree/a/b", 0o700)) }, "a/b a ."},
		{"our own write", func(g *ground) { g.OwnWrites.Put(g.info("a/b"), 0, ownwrites.Unproven, true) }, ""},
		{"times do not hold", func(g *ground) {
			g.Health.Refuse("a/b", g.info("a/b").Node, mtree.Unix(2000, 0), health.ErrNotHeld)
		}, ""},
		{"it refused its time", func(g *ground) { g.refused("a/b") }, "a/b a ."},
		{"it cannot be looked at any more", func(g *ground) { g.RefuseNth("statx b", 2, unix.EIO) }, "a/b a ."},
	} {
		g := newGround(t, "a/b/", "c/")
		c.prepare(g)
		require.Equal(t, c.stamped, g.publish(self("a/b")), c.what)
	}
}

// What an audit found is stamped, above every time that another directory may have shown
// under its name. One that refused its time only has to show what is published: for readers
// nothing changes.
func TestFindings(t *testing.T) {
	g := newGround(t, "a/b/")
	came := machine.Now()
	require.Equal(t, "a/b a .", g.publish(func(b *Batch) {
		b.AddFindings([]audit.Finding{{Path: "a/b", MTime: mtree.MinStamp, CTime: mtree.MinStamp, Came: came}})
	}))
	require.True(t, g.stamps["a/b"].After(came))

	g = newGround(t, "a/b/")
	g.refused("a/b")
	b := Batch{}
	b.AddFindings([]audit.Finding{{Path: "a/b", ShowOnly: true}})
	require.False(t, g.publishBatch(&b).Changed)
	require.Equal(t, map[string]mtree.Stamp{"a/b": mtree.Unix(2000, 0)}, g.stamps)
	require.Equal(t, "", g.exceptions())
}

// Only an audit lets a directory that refused its time try again.
func TestWhatRefusedIsLeftAlone(t *testing.T) {
	g := newGround(t, "a/")
	g.refused("a")
	require.Equal(t, "", g.publish(dirty("a/gone")))
	require.Equal(t, "a", g.exceptions())
}

// What happened below a directory that arrived needs no stamps besides those of the arrival:
// each is given once.
func TestArrivedWithChangesBelow(t *testing.T) {
	g := newGround(t, "a/b/")
	require.Equal(t, "a/b a .", g.publish(func(b *Batch) {
		arrival("a")(b)
		dirty("a/b")(b)
	}))
}

// Where nothing arrived, nobody asks whether a directory is heard: it costs a system call.
func TestHeardIsAskedForArrivals(t *testing.T) {
	g := newGround(t, "a/f")
	require.Equal(t, "a .", g.publish(entry("a/f")))
	require.Equal(t, 0, g.ear.Asked)
}

// Another file system is neither written nor entered, and counted once, unless mounts are to
// be crossed. Nor is what stands for a subvolume in a snapshot: it takes no times.
func TestOtherFileSystemsBelow(t *testing.T) {
	for _, cross := range []bool{false, true} {
		g := newGround(t, "a/b/")
		g.CrossMounts = cross
		g.Mount("a")
		want, count := "", int64(1)
		if cross {
			want, count = "a/b a .", 0
		}
		require.Equal(t, want, g.publish(dirty("a/b")))
		require.Equal(t, count, g.foreign.Load())
		require.Empty(t, g.Borders.List(nil))
	}
	g := newGround(t, "a/b/")
	g.Placehold("a")
	require.Equal(t, "", g.publish(dirty("a/b")))
}

// Where another watch or mirror runs, nothing is stamped by this one. Its root is an entry
// of the directory that it is in: what happens to it there counts.
func TestBorders(t *testing.T) {
	for _, c := range []struct {
		what    string
		stamped string
		change  func(b *Batch)
	}{
		{"a change inside", "", dirty("a/b")}, {"a name in it", "", entry("a/f")},
		{"its own attributes", ".", self("a")}, {"its .tidemark", ".", entry("a/" + mtree.MarkerName)},
		{"what an audit found", ".", func(b *Batch) { b.AddFindings([]audit.Finding{{Path: "a"}}) }},
	} {
		g := newGround(t, "a/b/", "a/f")
		g.live("a")
		require.Equal(t, c.stamped, g.publish(c.change), c.what)
		require.Equal(t, []string{"a"}, g.Borders.List(nil))
	}
}

// A directory of the batch that is no longer there is left out: its removal has its own
// event. Exceptions that named it, or what was to be tried again below it, end; others stay.
func TestDirectoriesThatAreGone(t *testing.T) {
	for what, remove := range map[string]func(g *ground){
		"gone": func(g *ground) { require.NoError(t, g.Shell.Remove("/tree/a")) },
		"a file": func(g *ground) {
			require.NoError(t, g.Shell.Remove("/tree/a"))
			require.NoError(t, g.Shell.Write("/tree/a", "x"))
		},
		"gone when it cannot be opened": func(g *ground) {
			g.Fail = func(call string) error {
				if call != "open a" {
					return nil
				}
				require.NoError(t, g.Shell.Remove("/tree/a"))
				return unix.EIO
			}
		},
	} {
		g := newGround(t, "a/b/", "a/c/", "d/")
		g.refused("a")
		g.refused("a/b")
		g.refused("d")
		g.unread("a/c")
		g.unread("d")
		remove(g)
		require.Equal(t, "", g.publish(func(b *Batch) {
			dirty("a/b")(b)
			retry("a/c")(b)
		}), what)
		require.Equal(t, "d", g.exceptions(), what)
		require.False(t, g.isUnread("a/c") || g.isUnread("a"), what)
		require.True(t, g.isUnread("d"), what)
	}
}

// A directory that cannot be opened, or not be looked at, is no longer published. The
// directories above it change by that, once.
func TestDirectoriesThatCannotBeOpened(t *testing.T) {
	for _, call := range []string{"open b", "statx b"} {
		g := newGround(t, "a/b/")
		g.RefuseNth(call, 1, unix.EIO)
		require.Equal(t, "a .", g.publish(dirty("a/b")), call)
		require.True(t, g.isUnread("a/b"))
		g.Health.Exceptions.Enter("a/b") // by an audit: it is looked at again
		g.RefuseNth(call, 1, unix.EIO)
		require.Equal(t, "", g.publish(dirty("a/b")), call)
	}
}

// The triggers get each changed name, with a slash where a directory arrived; and the
// directory itself if it changed, or if it is not known which names did.
func TestListedChanges(t *testing.T) {
	for _, c := range []struct {
		want   []string
		change func(b *Batch)
	}{
		{[]string{"a/f", "a/b/"}, func(b *Batch) { entry("a/f")(b); arrival("a/b")(b) }},
		{[]string{"a/f"}, func(b *Batch) { entry("a/f")(b); entry("a/" + mtree.MarkerName)(b) }},
		{[]string{"a/f"}, func(b *Batch) { self("a")(b); entry("a/f")(b) }},
		{[]string{"a/f", "a/"}, func(b *Batch) { dirty("a")(b); entry("a/f")(b) }},
		{[]string{"a/f", "a/"}, func(b *Batch) { b.AddFindings([]audit.Finding{{Path: "a"}}); entry("a/f")(b) }},
		{[]string{"a/"}, self("a")},
		{[]string{"a/b/"}, dirty("a/b")},
	} {
		for _, wanted := range []bool{true, false} {
			g, b := newGround(t, "a/b/", "a/f"), Batch{Paths: wanted}
			c.change(&b)
			result := g.publishBatch(&b)
			var listed []string
			for _, change := range result.Changes {
				listed = append(listed, change.Path)
				at := "a"
				if change.Path == "a/b/" && len(c.want) == 1 {
					at = "a/b"
				}
				require.Equal(t, g.stamps[at], change.Stamp)
			}
			if !wanted {
				require.Empty(t, listed)
				continue
			}
			require.Equal(t, c.want, listed)
		}
	}
}

// A root that cannot be looked at is an error, and nothing is stamped.
func TestRootThatCannotBeLookedAt(t *testing.T) {
	g, b := newGround(t, "a/"), Batch{}
	dirty("a")(&b)
	g.Refuse("statx tree", unix.EIO, 1)
	result, err := g.Publish(&b, stamprule.Rule{Floor: g.floor, Granule: 1}, nil)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, Result{Top: g.floor}, result)
	require.Empty(t, g.order)
}
