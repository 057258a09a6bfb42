package publish

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/notify"
)

// bring makes directories and files in the tree that are not heard so far.
func (g *ground) bring(paths ...string) {
	g.make(paths...)
	g.Age(g.t, "/tree/x")
	g.ear.DisarmAll("/tree/x")
}

// timesOf returns mtime and ctime.
func (g *ground) timesOf(at string) (mtime, ctime mtree.Stamp) {
	m, c, err := g.Shell.Times("/tree/" + at)
	require.NoError(g.t, err)
	return mtree.Unix(m.Unix(), int64(m.Nanosecond())), mtree.Unix(c.Unix(), int64(c.Nanosecond()))
}

// A directory that arrived is stamped with all directories below it, and heard from now on.
// Its stamp is above the times of its files, and of the directories that arrived with it:
// their names may have shown such times before.
func TestArrived(t *testing.T) {
	g := newGround(t, "a/")
	g.bring("x/y/z/", "x/y/f", "x/w/")
	require.NoError(t, g.Shell.Append("/tree/x/y/f", "more"))
	require.NoError(t, g.Shell.Chmod("/tree/x", 0o700))
	fileTime, _ := g.timesOf("x/y/f")
	_, above := g.timesOf("x")
	require.Equal(t, "x/w x/y/z x/y x .", g.publish(arrival("x")))
	require.Equal(t, []string{"x", "w", "y", "z"}, g.ear.Names)
	require.False(t, g.stamps["x/y"].Before(fileTime))
	for _, at := range []string{"x", "x/w", "x/y", "x/y/z"} {
		require.True(t, g.stamps[at].After(above), at)
		require.False(t, g.isUnread(at))
	}
	require.True(t, g.Health.HearsAll())
	require.Equal(t, int64(0), g.foreign.Load())
}

// The stamp of what arrived counts its files if nobody heard them. Where a directory was
// heard before, they are not looked at: their changes have their own events.
func TestFilesOfWhatArrived(t *testing.T) {
	for _, heard := range []bool{false, true} {
		g := newGround(t, "x/y/", "x/f")
		require.NoError(t, g.Shell.Symlink("f", "/tree/x/l"))
		require.NoError(t, g.Shell.Rename("/tree/x", "/tree/z", 0))
		require.NoError(t, g.Shell.Append("/tree/z/f", "more"))
		if !heard {
			g.ear.DisarmAll("/tree/z")
		}
		mtime, _ := g.timesOf("z/f")
		require.Equal(t, "z/y z .", g.publish(arrival("z")))
		looks := 2
		if heard {
			looks = 0
		} else {
			require.False(t, g.stamps["z"].Before(mtime))
		}
		require.Equal(t, looks, len(made(g, "statx f"))+len(made(g, "statx l")))
	}
}

// made returns the calls of that name.
func made(g *ground, name string) (calls []string) {
	for _, call := range g.Calls {
		if call == name {
			calls = append(calls, call)
		}
	}
	return calls
}

// The directory in which something arrived changes, also if that left again, cannot be read
// or is not published; and only then can what arrived be without a stamp.
func TestArrivedWithoutAStamp(t *testing.T) {
	for _, c := range []struct {
		what    string
		prepare func(g *ground)
		unread  bool
		armed   int
	}{
		{"it left again", func(g *ground) { require.NoError(t, g.Shell.Remove("/tree/x")) }, false, 0},
		{"it cannot be opened", func(g *ground) { g.Refuse("open x", unix.EACCES, -1) }, true, 0},
		{"it cannot be looked at", func(g *ground) { g.RefuseNth("statx x", 2, unix.EIO) }, true, 0},
		{"it left while it was looked at", func(g *ground) {
			g.Fail = func(call string) error {
				if call != "open x" {
					return nil
				}
				require.NoError(t, g.Shell.Remove("/tree/x"))
				return unix.EIO
			}
		}, false, 0},
		{"a file has its name by now", func(g *ground) {
			require.NoError(t, g.Shell.Remove("/tree/x"))
			require.NoError(t, g.Shell.Write("/tree/x", "text"))
		}, false, 0},
		{"it is on another file system", func(g *ground) { g.Mount("x") }, false, 0},
		{"it stands for a subvolume", func(g *ground) { g.Placehold("x") }, false, 0},
		{"another watch runs in it", func(g *ground) { g.live("x"); g.ear.DisarmAll("/tree/x") }, false, 1},
	} {
		g := newGround(t, "a/")
		g.bring("x/y/")
		g.refused("x")
		c.prepare(g)
		require.Equal(t, ".", g.publish(arrival("x")), c.what)
		require.Equal(t, c.unread, g.isUnread("x"), c.what)
		require.Len(t, g.ear.Names, c.armed, c.what)
	}
}

// Where another watch runs, nothing is unread by this one.
func TestArrivedUnreadBorder(t *testing.T) {
	g := newGround(t, "x/y/")
	g.live("x")
	g.unread("x")
	require.Equal(t, ".", g.publish(arrival("x")))
	require.False(t, g.isUnread("x"))
	require.Equal(t, []string{"x"}, g.Borders.List(nil))
}

// A directory that arrived and cannot be listed is one that cannot be read. If it was removed
// meanwhile, its removal has its own event, as has that of a single name.
func TestArrivedAndNotListed(t *testing.T) {
	for _, c := range []struct {
		what    string
		call    string
		err     error
		stamped string
		unread  bool
	}{
		{"it cannot be listed", "list x", unix.EIO, "x .", true},
		{"it was removed", "list x", unix.ENOENT, "x .", false},
		{"a name cannot be looked at", "statx v", unix.EIO, "x/u x .", true},
		{"a name was removed", "statx v", unix.ENOENT, "x/u x/w x .", false},
	} {
		g := newGround(t, "a/")
		g.bring("x/u/", "x/v/", "x/w/")
		g.Refuse(c.call, c.err, 1)
		require.Equal(t, c.stamped, g.publish(arrival("x")), c.what)
		require.Equal(t, c.unread, g.isUnread("x"), c.what)
	}
}

// Directories that are excluded arrive unnoticed.
func TestArrivedAndExcluded(t *testing.T) {
	g := newGround(t, "a/")
	g.bring("x/skip/y/", "x/z/")
	exclude, err := glob.Excluding([]string{"skip"})
	require.NoError(t, err)
	g.Exclude = exclude
	require.Equal(t, "x/z x .", g.publish(arrival("x")))
	require.Equal(t, []string{"x", "z"}, g.ear.Names)
}

// What cannot be heard is stamped nevertheless. Only frequent audits find its changes, unless
// it has left again.
func TestArrivedAndNotHeard(t *testing.T) {
	for err, hears := range map[error]bool{notify.ErrLimit: false, errors.New("other"): false, notify.ErrGone: true} {
		g := newGround(t, "a/")
		g.bring("x/y/")
		g.ear.Arming = func(string) error { return err }
		require.Equal(t, "x/y x .", g.publish(arrival("x")), err)
		require.Equal(t, hears, g.Health.HearsAll(), err)
	}
	g := newGround(t, "a/")
	g.bring("x/y/")
	g.ear.DisarmAll("/tree") // nothing is heard at all
	require.Equal(t, "x/y x .", g.publish(arrival("x")))
	require.Empty(t, g.ear.Names)
}

// unknowing is a source that cannot find out what it hears.
type unknowing struct {
	notify.Source
	err error
}

func (u unknowing) Known(int) (notify.Ref, error) { return notify.Ref{}, u.err }

// If it cannot be found out whether a directory is heard, nothing that arrives in it is, and
// frequent audits have to find the changes there: else they were found hours later. A directory
// that has left has no changes.
func TestArrivedWhereNothingIsKnown(t *testing.T) {
	for err, hears := range map[error]bool{unix.ENOMEM: false, notify.ErrGone: true, nil: true} {
		g := newGround(t, "a/")
		g.bring("x/y/")
		g.Source = unknowing{g.ear, err}
		require.Equal(t, "x/y x .", g.publish(arrival("x")), err)
		require.Empty(t, g.ear.Names, err)
		require.Equal(t, hears, g.Health.HearsAll(), err)
	}
}

// What was not heard before is named, the uppermost directories only: it arrives again if it may
// have stood at another place until it was heard, and what is at its place then had the same stamp.
func TestFreshOfWhatArrived(t *testing.T) {
	for _, c := range []struct {
		deaf  []string // where nothing was heard, nor below
		fresh []string
	}{
		{[]string{"x", "xy"}, []string{"x", "xy"}},
		{[]string{"x/y", "xy"}, []string{"x/y", "xy"}},
		{[]string{"x/y/z"}, []string{"x/y/z"}},
		{nil, nil},
	} {
		g := newGround(t, "x/y/z/", "xy/")
		for _, at := range c.deaf {
			g.ear.DisarmAll("/tree/" + at)
		}
		result := g.publishBatch(batchOf(both(arrival("x"), arrival("xy"))))
		require.Equal(t, c.fresh, result.Fresh)
	}
}

// What was mounted is armed. If others may change it elsewhere (NFS, FUSE), it is not heard.
func TestArrivedFromElsewhere(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		g := newGround(t, "a/")
		g.CrossMounts = true
		g.bring("x/y/")
		g.Mount("x")
		if elsewhere {
			g.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.NFS_SUPER_MAGIC }
		}
		require.Equal(t, "x/y x .", g.publish(arrival("x")))
		require.Equal(t, []string{"x", "y"}, g.ear.Names)
		require.Equal(t, !elsewhere, g.Health.HearsAll())
		require.Equal(t, 1, g.Made("statfs "), "once for each mount")
	}
}

// What was mounted and cannot be armed is not heard, wherever it comes from.
func TestArrivedFromElsewhereAndNotArmed(t *testing.T) {
	g := newGround(t, "a/")
	g.CrossMounts = true
	g.bring("x/")
	g.Mount("x")
	g.ear.Arming = func(string) error { return notify.ErrLimit }
	require.Equal(t, "x .", g.publish(arrival("x")))
	require.False(t, g.Health.HearsAll())
}

// What is mounted while a batch is published may be gone when the mounts are looked at: the batch tells
// where it saw something mounted.
func TestMountsThatABatchSaw(t *testing.T) {
	for name, c := range map[string]struct {
		mounted string // a name
		batch   func(*Batch)
		want    []string
	}{
		"a directory that arrived":        {"x", arrival("x"), []string{"x"}},
		"one in it":                       {"y", arrival("x"), []string{"x/y"}},
		"a file in it":                    {"f", arrival("x"), []string{"x/f"}},
		"a name":                          {"x", entry("x"), []string{"x"}},
		"a name of a file":                {"f", entry("a/f"), []string{"a/f"}},
		"above what changed":              {"a", dirty("a"), []string{"a"}},
		"elsewhere":                       {"y", dirty("a"), nil},
		"in what arrived, with its files": {"nothing", arrival("x"), nil},
	} {
		for _, cross := range []bool{false, true} {
			g := newGround(t, "a/f")
			g.CrossMounts = cross
			g.bring("x/y/", "x/f")
			g.Mount(c.mounted)
			b := Batch{}
			c.batch(&b)
			require.Equal(t, c.want, g.publishBatch(&b).Mounts, name)
		}
	}
}
