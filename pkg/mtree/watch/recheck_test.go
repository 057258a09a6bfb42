package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/wire"
)

// A clock that was set forward concerns nobody. One that was set back is a loss, at once: it
// is not known which stamps lie ahead. If the root is gone, too, watch ends.
func TestClockThatWasSet(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		epoch := p.tree.Epoch
		p.later = time.Hour
		require.NoError(t, p.checkClock(p.ctx))
		require.Equal(t, 0, p.tower.taken)
		p.later = 0
		require.NoError(t, p.checkClock(p.ctx))
		require.Equal(t, 1, p.tower.taken)
		require.Equal(t, wire.Auditing, p.status(t).State)
		require.Greater(t, p.treeFile().Epoch, epoch)
		p.audit()
		require.Equal(t, wire.Watched, p.status(t).State)

		p.later = time.Hour
		require.NoError(t, p.checkClock(p.ctx))
		p.later = 0
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		p.tower.events = []notify.Events{{RootGone: true}}
		require.ErrorContains(t, p.checkClock(p.ctx), "moved, deleted or unmounted")
	})
}

// Where a mount came or went everything counts as arrived, and the directory that it is in
// as changed. Mounts elsewhere concern nobody. What is mounted over the root ends watch.
func TestMountsThatCameAndWent(t *testing.T) {
	mount := func(p *post, lines string) error {
		p.Mounts, p.Mounted = lines, true
		return p.publishMounts(p.ctx)
	}
	manned(t, []string{"a/b/c/", "d/"}, func(t *testing.T, p *post) {
		all := []string{"", "a", "a/b", "a/b/c", "d"}
		require.Equal(t, "", p.changes(func() { require.NoError(t, mount(p, "5 1 8:2 / /elsewhere rw - ext4 x rw\n")) }, all...))
		require.Equal(t, 0, p.tower.taken)
		require.Equal(t, 0, p.tower.mounted)
		require.Equal(t, " a a/b a/b/c", p.changes(func() { require.NoError(t, mount(p, "5 1 8:2 / /tree/a/b rw - ext4 x rw\n")) }, all...))
		require.Equal(t, 1, p.tower.mounted)
		require.Equal(t, 1, p.tower.taken)
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		p.mountEvents = []*notify.DirEvents{{Path: "d", Dirty: true}}
		p.tower.taken = 0
		require.ErrorContains(t, mount(p, "6 1 8:2 / / rw - ext4 y rw\n"), "moved, deleted or unmounted")
		require.Equal(t, 0, p.tower.taken)
	})
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.mountEvents = []*notify.DirEvents{{Path: "a", Dirty: true}}
		p.tower.events = []notify.Events{{RootGone: true}}
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		require.Error(t, p.publishMounts(p.ctx))
	})
}

// inotify has one watch for all places of a directory. Where one of the places goes, or is covered, the
// others count as arrived, so that they are heard again. Excluded places do not count.
func TestMountsThatWereShownTwice(t *testing.T) {
	const root, bind, cover = "1 0 8:1 / / rw - ext4 x rw\n", "5 1 8:1 /tree/a/b /tree/d/e rw - ext4 x rw\n", "6 1 8:2 / /tree/%s rw - ext4 y rw\n"
	for _, c := range []struct{ what, then, exclude, want string }{
		{"unmounted", root, "", " a a/b a/b/c d d/e"},
		{"covered", root + bind + fmt.Sprintf(cover, "d/e"), "", " a a/b a/b/c d d/e"},
		{"covered above", root + bind + fmt.Sprintf(cover, "d"), "", " a a/b a/b/c d d/e"},
		{"the first place covered", root + bind + fmt.Sprintf(cover, "a/b"), "", " a a/b a/b/c d d/e"},
		{"covered above the first place", root + bind + fmt.Sprintf(cover, "a"), "", " a a/b a/b/c d d/e"},
		{"covered elsewhere", root + bind + fmt.Sprintf(cover, "f"), "", " f"},
		{"the other place is excluded", root, "a/b", " d d/e"},
		{"the place is excluded", root, "d/e", ""},
	} {
		options := Config{CrossMounts: true}
		if c.exclude != "" {
			options.Exclude = []string{c.exclude}
		}
		mannedWith(t, options, []string{"a/b/c/", "d/e/", "f/"}, func(t *testing.T, p *post) {
			mount := func(lines string) func() {
				return func() {
					p.Mounts, p.Mounted = lines, true
					require.NoError(t, p.publishMounts(p.ctx))
				}
			}
			mount(root + bind)()
			require.Equal(t, c.want, p.changes(mount(c.then), "", "a", "a/b", "a/b/c", "d", "d/e", "f"), c.what)
		})
	}
}

// A directory in which something is mounted may be renamed. Nothing tells of that but the table of mounts,
// which raises no alarm then. What was unmounted at the new place later was looked for at the old one.
func TestMountsThatMove(t *testing.T) {
	const line = "5 1 8:2 / /tree/%s/m rw - ext4 x rw\n"
	all := []string{"", "z", "z/m", "z/m/c", "d"}
	unmounted := func(p *post) string {
		return p.changes(func() {
			p.Mounts, p.Mounted = "", true
			require.NoError(t, p.publishMounts(p.ctx))
		}, all...)
	}
	moved := func(p *post) {
		p.Mounts, p.Mounted = fmt.Sprintf(line, "a"), true
		require.NoError(t, p.publishMounts(p.ctx))
		require.NoError(t, p.Shell.Rename("/tree/a", "/tree/z", 0))
		p.Mounts = fmt.Sprintf(line, "z")
	}
	arrived := []*notify.DirEvents{{Entries: []notify.Entry{{Name: "a"}, {Name: "z", Arrived: true, Moved: true}}}}
	made := []*notify.DirEvents{{Entries: []notify.Entry{{Name: "z", Arrived: true}}}}
	for _, c := range []struct {
		what string
		then func(p *post)
	}{
		{"renamed", func(p *post) { p.hear(arrived...) }},
		{"moved into what was just made", func(p *post) {
			p.tower.events = []notify.Events{{Dirs: made, Drained: true, Strayed: true}}
		}},
		{"lost", func(p *post) { p.tower.events = []notify.Events{{Lost: "an event", Drained: true}} }},
	} {
		manned(t, []string{"a/m/c/", "d/"}, func(t *testing.T, p *post) {
			moved(p)
			c.then(p)
			require.NoError(t, p.publishEvents(p.ctx))
			p.audit()
			require.Equal(t, " z z/m z/m/c", unmounted(p), c.what)
			require.Empty(t, p.treeFile().Mounts, c.what)
		})
	}
	// Without events, each audit reads the table when it begins and when it ends.
	manned(t, []string{"a/m/c/", "d/"}, func(t *testing.T, p *post) {
		p.backend = "none"
		p.again(func() { moved(p) })
		require.Empty(t, p.mountEvents)
		require.Equal(t, " z z/m z/m/c", unmounted(p), "moved during the audit")
		p.again(func() {})
		require.Empty(t, p.treeFile().Mounts)
	})
	manned(t, []string{"a/m/c/", "d/"}, func(t *testing.T, p *post) {
		p.backend = "none"
		moved(p)
		p.requestAudit(p.auditScope("asked for"))
		require.NoError(t, p.publishFindings(p.ctx, <-p.audits.findings))
		require.Equal(t, " z z/m z/m/c", unmounted(p), "unmounted during the audit")
		p.audit()
	})
}

// Where another watch ran and has ended, everything counts as arrived. Where one runs, or the
// directory is gone, nothing is published. As long as there are such directories somebody
// looks at them each second; if nothing came of that, nothing is written.
func TestBordersAreLookedAt(t *testing.T) {
	manned(t, []string{"a/b/", "c/d/", "e/f/", "g/h/"}, func(t *testing.T, p *post) {
		all := []string{"", "a", "a/b", "c", "c/d", "e", "e/f", "g", "g/h"}
		look := func() { require.NoError(t, p.checkBorders(p.ctx)) }
		due := func() bool {
			p.sleep(2 * time.Second)
			select {
			case <-p.borders.Due():
				return true
			default:
				return false
			}
		}
		look()
		require.False(t, due())
		ends := map[string]func(){}
		for _, path := range []string{"a", "c", "e", "g"} {
			ends[path] = p.live(path)
			p.borders.Add(path)
		}
		p.recordBorders()
		require.Equal(t, []string{"a", "c", "e", "g"}, p.treeFile().Borders)
		require.True(t, due())
		p.forget()
		require.Equal(t, "", p.changes(look, all...))
		require.False(t, p.written())
		require.True(t, due())

		ends["c"]()
		p.floor = p.now().Add(time.Second)
		require.Equal(t, time.Second, waits(func() {
			require.Equal(t, " c c/d", p.changes(look, all...))
		}).Round(time.Millisecond))
		require.True(t, p.written())
		require.Equal(t, []string{"a", "e", "g"}, p.treeFile().Borders)
		require.NoError(t, p.Shell.Remove("/tree/e"))
		require.Equal(t, "", p.changes(look, "", "a", "a/b", "g", "g/h"), "it has an event")
		require.False(t, p.written())
		require.Equal(t, []string{"a", "g"}, p.borders.List(nil))
		p.Refuse("open g", unix.EACCES, -1)
		require.Equal(t, "", p.changes(look, "a", "a/b", "c", "g", "g/h"))
		require.Equal(t, []string{"a"}, p.borders.List(nil))
		require.True(t, p.exceptions.IsUnread("", "g"), "it cannot be read")
	})
}

// A directory that could not be read is tried each minute. If it still cannot be read,
// nothing is written.
func TestUnreadIsTriedEachMinute(t *testing.T) {
	manned(t, []string{"a/d/e/"}, func(t *testing.T, p *post) {
		all := []string{"", "a", "a/d", "a/d/e"}
		try := func() { require.NoError(t, p.retryUnread(p.ctx)) }
		due := func() bool {
			p.sleep(61 * time.Second)
			select {
			case <-p.exceptions.Due():
				return true
			default:
				return false
			}
		}
		p.floor = p.now().Add(time.Second)
		require.Zero(t, waits(try), "nothing is unread")
		require.False(t, due())
		p.health.CannotRead("a/d", p.inode("a/d"), os.ErrPermission)
		p.saveExceptions()
		p.Refuse("open d", unix.EACCES, -1)
		require.True(t, due())
		p.forget()
		require.Equal(t, "", p.changes(try, all...))
		require.False(t, p.written())
		require.True(t, due())
		p.Fail = func(call string) error { // also while it cannot be told
			if call == "open d" || strings.Contains(call, "unread") {
				return unix.EIO
			}
			return nil
		}
		p.health.CannotRead("a/d/e", p.inode("a/d/e"), os.ErrPermission)
		try()
		require.True(t, due())
		p.Fail = nil
		p.floor = p.now().Add(time.Second)
		require.Equal(t, time.Second, waits(func() {
			require.Equal(t, " a a/d a/d/e", p.changes(try, all...))
		}).Round(time.Millisecond))
		require.True(t, p.written())
	})
}

// Directories that an audit could read again are stamped, with what is above them, when the
// clock has a stamp for that. Nobody waits for that if there are none.
func TestReadableIsPublished(t *testing.T) {
	manned(t, []string{"a/d/", "b/"}, func(t *testing.T, p *post) {
		p.floor = p.now().Add(time.Second)
		require.Zero(t, waits(func() { require.NoError(t, p.publishReadable(p.ctx, nil)) }))
		require.Equal(t, time.Second, waits(func() {
			require.Equal(t, " a", p.changes(func() { require.NoError(t, p.publishReadable(p.ctx, []string{"a/d"})) }, "", "a", "a/d", "b"))
		}).Round(time.Millisecond))
		p.Refuse("statx tree", unix.EIO, -1)
		require.ErrorIs(t, p.publishReadable(p.ctx, []string{"a/d"}), unix.EIO)
	})
}

// However many directories there are in which another watch runs, each is looked at. With more than
// the tree file names, none of them was. Where the other watch ended, nothing was stamped from then on.
func TestManyBordersAreLookedAt(t *testing.T) {
	manned(t, []string{"c/d/"}, func(t *testing.T, p *post) {
		p.borders.Add("c")
		for i := range 1000 {
			p.borders.Add(fmt.Sprint("x", i)) // nothing is there
		}
		p.recordBorders()
		require.Equal(t, []string{""}, p.treeFile().Borders)
		require.Equal(t, " c c/d", p.changes(func() { require.NoError(t, p.checkBorders(p.ctx)) }, "", "c", "c/d"))
		require.Empty(t, p.treeFile().Borders)
	})
}
