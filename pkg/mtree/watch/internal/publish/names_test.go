package publish

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// A name in a directory stamps the directory, whatever it is and whether it is still there;
// except a directory that shows our own write, and one on another file system. What is
// mounted over a file is a change like others.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		what    string
		name    string
		stamped string
		prepare func(g *ground)
	}{
		{"a file", "a/f", "a .", nil},
		{"a directory that somebody set the mode of", "a/b", "a .", func(g *ground) { require.NoError(t, g.Shell.Chmod("/tree/a/b", 0o700)) }},
		{"a directory with our write", "a/b", "", func(g *ground) { g.OwnWrites.Put(g.info("a/b"), 0, ownwrites.Unproven, true) }},
		{"a directory on another file system", "a/b", "", func(g *ground) { g.Mount("b") }},
		{"a file that is mounted", "a/f", "a .", func(g *ground) { g.Mount("f") }},
		{"gone", "a/gone", "a .", nil},
		{"not to be looked at", "a/f", "a .", func(g *ground) { g.Refuse("statx f", unix.EIO, -1) }},
		{"our own .tidemark", mtree.MarkerName, "", nil},
	} {
		g := newGround(t, "a/b/", "a/f")
		if c.prepare != nil {
			c.prepare(g)
		}
		require.Equal(t, c.stamped, g.publish(entry(c.name)), c.what)
		require.Empty(t, g.ear.Names, c.what)
	}
}

// A directory whose name is gone is none of those that refused their time any more.
func TestWhatRefusedIsGone(t *testing.T) {
	g := newGround(t, "a/b/", "c/")
	g.refused("a/b")
	g.refused("c")
	require.NoError(t, g.Shell.Remove("/tree/a/b"))
	require.Equal(t, "a .", g.publish(entry("a/b")))
	require.Equal(t, "c", g.exceptions())
}

// A name that is gone, or of a directory that still cannot be read, has no time: it counts for the
// least new stamp, also while everything after 1970 is new.
func TestNamesWithoutATime(t *testing.T) {
	g := newGround(t, "a/")
	p := publisher{Tree: g.Tree, rule: stamprule.Rule{Floor: mtree.MinStamp, Granule: 1}}
	for _, f := range []fate{absent, unread} {
		value, changed := p.entry(g.Root, disk.Info{}, notify.Ref{}, notify.Entry{Name: "f"}, seen{fate: f}, "a")
		require.True(t, changed)
		require.Equal(t, p.rule.Least(), value)
	}
}

// Where a watch or mirror has ended, nobody knows which stamps its readers have: everything
// below counts as arrived, and is heard from now on. Its files were heard.
func TestABorderThatEnded(t *testing.T) {
	g := newGround(t, "a/b/c/", "a/f", "d/")
	g.ear.DisarmAll("/tree/a/b")
	require.Equal(t, "a/b/c a/b a .", g.publish(entry("a/"+mtree.MarkerName)))
	require.Equal(t, []string{"b", "c"}, g.ear.Names)
	require.Equal(t, 0, g.Made("statx f"))
}

// A directory that could not be read is tried when something happened to it, or when it is
// its turn, and not for what happens inside. As soon as it can be read it counts as arrived,
// with everything below it.
func TestUnreadDirectories(t *testing.T) {
	opened, denied := func(*ground) {}, func(g *ground) { g.Refuse("open a", unix.EACCES, -1) }
	for _, c := range []struct {
		what    string
		prepare func(g *ground)
		change  func(b *Batch)
		stamped string
		unread  bool
	}{
		{"a change inside", opened, dirty("a"), "", true},
		{"a change below", opened, dirty("a/b"), "", true},
		{"its mode was set", opened, self("a"), "a/b a .", false},
		{"its turn", opened, retry("a"), "a/b a .", false},
		{"it still cannot be opened", denied, self("a"), ".", true},
		{"nor in its turn", denied, retry("a"), "", true},
		{"it cannot be listed", func(g *ground) { g.Refuse("list a", unix.EIO, -1) }, self("a"), ".", true},
		{"something in it cannot be looked at", func(g *ground) { g.Refuse("statx f", unix.EIO, -1) }, retry("a"), "", true},
		{"it is gone", func(g *ground) { require.NoError(t, g.Shell.Remove("/tree/a")) }, retry("a"), ".", false},
		{"its name", opened, entry("a"), "a/b a .", false},
		{"its name, and it cannot be opened", denied, entry("a"), ".", true},
		{"its name is gone", func(g *ground) { require.NoError(t, g.Shell.Remove("/tree/a")) }, entry("a"), ".", false},
		{"it arrived", opened, arrival("a"), "a/b a .", false},
	} {
		g := newGround(t, "a/b/", "a/f")
		g.unread("a")
		require.NoError(t, g.Shell.Append("/tree/a/f", "more")) // nobody heard that
		c.prepare(g)
		require.Equal(t, c.stamped, g.publish(c.change), c.what)
		require.Equal(t, c.unread, g.isUnread("a"), c.what)
		if stamp, ok := g.stamps["a"]; ok {
			mtime, _, err := g.Shell.Times("/tree/a/f")
			require.NoError(t, err)
			require.False(t, stamp.Before(mtree.Unix(mtime.Unix(), int64(mtime.Nanosecond()))), c.what)
			require.Equal(t, []string{"a", "b"}, g.ear.Names, c.what)
		}
	}
}
