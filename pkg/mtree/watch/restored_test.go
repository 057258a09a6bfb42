package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/wire"
)

const markerPath = "/tree/" + mtree.MarkerName

// puts lets the watcher look after .tidemark, and reports whether it put something back.
func (p *post) puts() bool {
	p.t.Helper()
	p.forget()
	require.NoError(p.t, p.restoreMarker())
	return strings.Contains(p.text.String(), "putting it back")
}

// isWhole requires that .tidemark is that of this watcher, to everybody.
func (p *post) isWhole(id string) {
	p.t.Helper()
	require.True(p.t, state.IsLiveTree(p.root))
	require.Equal(p.t, id, p.treeFile().ID)
	require.True(p.t, p.treeFile().Same(p.tree))
	require.Equal(p.t, wire.Watched, p.status(p.t).State)
	require.True(p.t, p.marker.Has("left.0", "left.1"))
	require.True(p.t, p.exceptions.StillIn(p.marker))
	require.False(p.t, p.puts(), "once")
}

// Whatever of .tidemark was removed or replaced is put back, with the tree's id, and heard. What
// is as it was is left alone.
func TestMarkerIsPutBack(t *testing.T) {
	removed := func(names ...string) func(p *post) error {
		return func(p *post) error {
			for _, name := range names {
				if err := p.Shell.Remove(markerPath + name); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for what, change := range map[string]func(p *post) error{
		"nothing": removed(), "all": removed(""), "the lock": removed("/lock"), "the tree": removed("/tree"), "the status": removed("/status.json"),
		"our writes": removed("/left.0"), "our other writes": removed("/left.1"), "the stamps": removed("/stamps"), "much": removed("/lock", "/tree", "/left.0"),
		"moved away": func(p *post) error { return p.Shell.Rename(markerPath, "/tree/x", 0) },
		"replaced": func(p *post) error {
			p.Make(p.t, "/x/")
			return p.Shell.Rename("/x", markerPath, unix.RENAME_EXCHANGE)
		},
		"another tree": func(p *post) error {
			return state.WriteFile(p.marker.Dir(), "tree", []byte(`{"format":1,"id":"`+state.NewTreeID()+`","epoch":1}`))
		},
		"a damaged tree":  func(p *post) error { return p.Shell.Write(markerPath+"/tree", "x") },
		"another status":  func(p *post) error { return state.WriteFile(p.marker.Dir(), "status.json", []byte("{}")) },
		"older stamps":    func(p *post) error { return p.Shell.Write(markerPath+"/stamps", "x") },
		"an unread tree":  func(p *post) error { p.Refuse("open tree", unix.EACCES, 1); return nil },
		"a trouble":       func(p *post) error { p.Refuse("open tree", unix.EIO, 1); return nil },
		"a newer version": func(p *post) error { return p.Shell.Write(markerPath+"/tree", `{"format":99}`) },
	} {
		manned(t, []string{"a/"}, func(t *testing.T, p *post) {
			p.health.Refuse("a", disk.Node{Dev: 1, Ino: p.inode("a")}, mtree.Unix(5, 0), unix.EPERM)
			p.saveExceptions()
			id := p.tree.ID
			require.False(t, p.puts())
			p.forget()
			require.NoError(t, change(p), what)
			if what == "nothing" || what == "a trouble" || what == "a newer version" {
				require.False(t, p.puts(), what)
				return
			}
			require.True(t, p.puts(), what)
			gone := what == "all" || what == "moved away" || what == "replaced"
			require.Equal(t, gone, p.Made("mkdir .tidemark") > 0, what)
			require.Positive(t, p.tower.marked, what)
			p.isWhole(id)
		})
	}
}

// The tree file that is read again ends the trouble that it could not be written, but only if
// it has everything.
func TestTreeFileThatCanBeRead(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.health.TreeFile(unix.EIO)
		require.False(t, p.puts())
		require.Equal(t, "", p.health.Degraded())
		p.health.TreeFile(unix.EIO)
		p.tree.Epoch++
		require.False(t, p.puts())
		require.NotEqual(t, "", p.health.Degraded())
	})
	manned(t, nil, func(t *testing.T, p *post) {
		require.NoError(t, p.Shell.Write(markerPath+"/tree", "x"))
		p.writtenTree = state.Tree{}
		require.False(t, p.markerIsOurs(), "what cannot be read is not what was written")
	})
}

// Files that are removed while they are made are made again; also if that comes after the last
// of them. If it never ends, the tree is degraded, unless the root is gone.
func TestMarkerIsRemovedWhileItIsPutBack(t *testing.T) {
	for _, when := range []string{"open lock", "open status.json", "open left.1", "rename tree", "write status.json"} {
		for _, times := range []int{1, 5, -1} {
			manned(t, []string{"a/"}, func(t *testing.T, p *post) {
				id, left := p.tree.ID, times
				require.NoError(t, p.Shell.Remove(markerPath))
				p.Fail = func(call string) error {
					if call == when && left != 0 {
						left--
						_ = p.Shell.Remove(markerPath)
					}
					return nil
				}
				require.True(t, p.puts(), when)
				p.Fail = nil
				require.Equal(t, times < 0, p.health.Degraded() != "", when)
				require.True(t, times >= 0 && left == 0 || times < 0 && left >= -2*removalTries-1, "%s: %d tries", when, -left)
				if times < 0 {
					require.True(t, p.puts())
				}
				p.isWhole(id)
			})
		}
	}
	manned(t, nil, func(t *testing.T, p *post) {
		require.NoError(t, p.Shell.Rename("/tree", "/away", 0))
		p.Fail = func(call string) error {
			if call == "open status.json" {
				_ = p.Shell.Remove("/away/.tidemark")
			}
			return nil
		}
		require.NoError(t, p.Shell.Remove("/away/.tidemark"))
		require.ErrorContains(t, p.restoreMarker(), "moved, deleted or unmounted")
	})
}

// What else goes wrong ends watch, with the disk's reason, and nothing stays open that was not
// open before.
func TestMarkerThatCannotBePutBack(t *testing.T) {
	for _, call := range []string{"mkdir .tidemark", "open lock", "open status.json", "open left.0", "rename tree"} {
		manned(t, nil, func(t *testing.T, p *post) {
			require.NoError(t, p.Shell.Remove(markerPath))
			open := len(p.Open)
			p.Refuse(call, unix.EIO, -1)
			err := p.restoreMarker()
			require.ErrorIs(t, err, unix.EIO, call)
			require.Equal(t, exit.Local, exit.Of(err), call)
			require.Len(t, p.Open, open, call)
		})
	}
	manned(t, nil, func(t *testing.T, p *post) {
		require.NoError(t, p.Shell.Remove(markerPath))
		p.Make(t, markerPath+"/lock")
		fd, err := p.Shell.Openat(unix.AT_FDCWD, markerPath+"/lock", unix.O_RDWR, 0)
		require.NoError(t, err)
		_, err = p.Shell.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, unix.Flock_t{Type: unix.F_WRLCK})
		require.NoError(t, err)
		err = p.restoreMarker()
		require.ErrorContains(t, err, "another watcher took the tree")
		require.Equal(t, exit.Refused, exit.Of(err))
	})
}

// A new .tidemark is heard before its lock can be seen. It is not believed to be locked where
// nobody can tell whether the lock is there.
func TestNewMarkerIsLocked(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		require.NoError(t, p.Shell.Remove(markerPath))
		p.Fail = func(call string) error {
			if call == "statx lock" {
				return unix.EIO
			}
			if call == "open lock" {
				require.Positive(t, p.tower.marked)
			}
			return nil
		}
		require.ErrorIs(t, p.restoreMarker(), unix.EIO)
	})
}

// What the next start needs to know is in the new .tidemark: the writes that were ours, and
// which directories stand apart.
func TestMarkerThatIsPutBackIsComplete(t *testing.T) {
	manned(t, []string{"a/"}, func(t *testing.T, p *post) {
		p.health.Refuse("a", disk.Node{Dev: 1, Ino: p.inode("a")}, mtree.Unix(5, 0), unix.EPERM)
		p.saveExceptions()
		d, err := disk.OpenRoot("/tree/a")
		require.NoError(t, err)
		p.ownWrites.Put(selfOf(t, d), 0, ownwrites.Proven, true)
		require.NoError(t, d.Close())
		_, err = p.ownWrites.Save()
		require.NoError(t, err)
		require.NoError(t, p.Shell.Remove(markerPath))
		require.True(t, p.puts())
		have, err := p.marker.ReadExceptions()
		require.NoError(t, err)
		require.Contains(t, have.Stamps, "a")
		p.saveOwnWrites()
		text, err := p.Shell.Read(markerPath + "/left.0")
		require.NoError(t, err)
		other, err := p.Shell.Read(markerPath + "/left.1")
		require.NoError(t, err)
		require.NotEmpty(t, text+other)
	})
}

// If .tidemark cannot be heard, the tree is degraded; if it is gone, it is put back by its
// event.
func TestMarkerThatIsNotHeard(t *testing.T) {
	manned(t, nil, func(t *testing.T, p *post) {
		p.armMarker()
		require.True(t, p.health.HearsAll())
		p.tower.deaf = notify.ErrLimit
		require.NoError(t, p.Shell.Rename(markerPath, "/x", 0))
		p.armMarker()
		require.True(t, p.health.HearsAll())
		require.NoError(t, p.Shell.Rename("/x", markerPath, 0))
		p.armMarker()
		require.False(t, p.health.HearsAll())
	})
}
