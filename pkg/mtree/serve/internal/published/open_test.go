package published

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// What cannot be read in .tidemark says nothing of the path that was asked for: not that it
// is missing, and not that it may not be read.
func TestOpeningWhileExceptionsCannotBeRead(t *testing.T) {
	for _, why := range []error{unix.EMFILE, unix.EIO, unix.ENOENT, unix.EACCES, unix.ESTALE} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("d/", "d/f", "u/")
			w.unread("u")
			tree := w.open(Config{})
			w.Refuse("open .tidemark", why, -1)
			_, dirErr := tree.OpenDir("d")
			_, _, fileErr := tree.OpenRegular("d/f")
			_, _, _, linkErr := tree.OpenFile("d/f")
			_, listErr := tree.Lister(tree.Now()).Read(tree.Root(), "")
			for _, err := range []error{dirErr, fileErr, linkErr, listErr} {
				require.Error(t, err, why)
				require.False(t, disk.IsAbsent(err) || disk.IsDenied(err), "%v: %v", why, err)
				require.Equal(t, disk.IsOutOfResources(why), disk.IsOutOfResources(err))
			}
		})
	}
}

// A directory is opened at its own path only: through no symlink, and if watch may read it.
func TestOpenDir(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/", "d/f", "l -> d", "u/", "u/v/", "again/")
		w.unread("u")
		tree := w.open(Config{})
		dir, err := tree.OpenDir("d")
		require.NoError(t, err)
		require.NoError(t, dir.Close())
		for path, is := range map[string]func(error) bool{"l": disk.IsLink, "none": disk.IsGone, "d/f": disk.IsLink} {
			dir, err := tree.OpenDir(path)
			require.Error(t, err, path)
			require.True(t, is(err), err)
			require.Nil(t, dir)
		}
		for _, path := range []string{"u", "u/v"} {
			_, err := tree.OpenDir(path)
			require.ErrorIs(t, err, state.ErrUnread, path)
		}
		_, _, err = tree.OpenRegular("u/f")
		require.ErrorIs(t, err, state.ErrUnread)
	})
}

// A tree of which watch says nothing is opened without a look at what it says, and so is
// one without a watch.
func TestOpenDirWithoutExceptions(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/")
		for _, watched := range []bool{false, true} {
			if watched {
				w.says(source(), state.Status{State: wire.Watched})
			}
			tree := w.open(Config{})
			w.Made("")
			dir, err := tree.OpenDir("d")
			require.NoError(t, err)
			require.NoError(t, dir.Close())
			require.Equal(t, 0, w.Made("open .tidemark"))
		}
	})
}

// A directory that refuses its stamp is known as long as watch says so.
func TestRefuses(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("d/", "e/")
		w.keep(func(m *state.Marker) {
			require.NoError(t, m.WriteStamps(map[string]state.Refusal{"d": {Stamp: mtree.Unix(5, 0)}}, 1, false))
		})
		w.says(source(), state.Status{State: wire.Watched, Stamps: 1})
		tree := w.open(Config{})
		require.True(t, tree.Refuses("d"))
		require.False(t, tree.Refuses("e"))
		w.Refuse("open stamps", unix.EIO, -1)
		require.False(t, tree.Refuses("d"), "it is not known")
	})
}

// Files are opened at their path, or where symlinks within the tree lead. What is no file is
// told with what it is.
func TestOpenFile(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("f", "d/", "d/g", "u/", "u/h", "toF -> f", "toD -> d", "toU -> u/h", "nowhere -> none", "out -> ../secret", "root -> .")
		require.NoError(t, w.Shell.Write("/secret", "secret"))
		w.unread("u")
		tree := w.open(Config{})
		for path, want := range map[string]string{"f": "f", "d/g": "d/g", "toF": "f", "toD/g": "d/g", "root/toD/g": "d/g"} {
			f, real, info, err := tree.OpenFile(path)
			require.NoError(t, err, path)
			require.Equal(t, want, real, path)
			require.Equal(t, info, f.Info)
			require.Equal(t, int64(len(want)), info.Size)
			require.NoError(t, f.Close())
		}
		for path, kind := range map[string]mtree.Kind{
			"d": mtree.Dir, "toD": mtree.Symlink, "toU": mtree.Symlink, "nowhere": mtree.Symlink, "out": mtree.Symlink, "root": mtree.Symlink,
			"none": mtree.Other, "toD/none": mtree.Other,
		} {
			f, real, info, err := tree.OpenFile(path)
			require.Error(t, err, path)
			require.True(t, disk.IsAbsent(err), "%s: %v", path, err)
			require.Nil(t, f, path)
			require.Equal(t, path, real)
			require.Equal(t, kind, info.Kind, path)
		}
		_, _, _, err := tree.OpenFile("u/h")
		require.ErrorIs(t, err, state.ErrUnread)
	})
}

// A symlink that leads nowhere may have been replaced: it is followed three times. One to a
// directory is followed once.
func TestLinksThatLeadToNoFile(t *testing.T) {
	for target, follows := range map[string]int{"none": 3, "d": 1} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("d/", "l -> "+target)
			tree := w.open(Config{})
			w.Made("")
			_, _, _, err := tree.OpenFile("l")
			require.ErrorIs(t, err, disk.ErrNotRegular)
			require.Equal(t, 2*follows, w.Made("open l"), "it is looked at, and followed")
		})
	}
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("f", "l -> none")
		tree := w.open(Config{})
		w.meanwhile("statx l", 5, func() { w.put("l -> f") })
		_, real, _, err := tree.OpenFile("l")
		require.NoError(t, err, w.Calls)
		require.Equal(t, "f", real)
	})
}

// A file that is gone between being found and being opened, and the symlink leads to another:
// that is followed ten times. Then the symlink is told, as one that leads nowhere.
func TestFilesThatAreReplaced(t *testing.T) {
	for times, found := range map[int]bool{1: true, 4: true, 9: true, 10: false, 50: false} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("f0", "l -> f0")
			tree := w.open(Config{})
			done, looks := 0, 0
			w.Fail = func(call string) error {
				if call != "statx f"+strconv.Itoa(done) {
					return nil
				}
				if looks++; looks == 2 && done < times { // it was found by the first look, and is opened after the second
					w.put("l -> f" + strconv.Itoa(done+1))
					w.fill("f" + strconv.Itoa(done+1))
					require.NoError(t, w.Shell.Remove("/tree/f"+strconv.Itoa(done)))
					done, looks = done+1, 0
				}
				return nil
			}
			f, real, info, err := tree.OpenFile("l")
			if found {
				require.NoError(t, err, times)
				require.NoError(t, f.Close())
				require.Equal(t, "f"+strconv.Itoa(times), real)
				return
			}
			require.ErrorIs(t, err, disk.ErrNotRegular)
			require.Equal(t, mtree.Symlink, info.Kind)
			require.Equal(t, 10, done)
		})
	}
}

// The disk fails where a symlink leads: that is told, and not that there is no file.
func TestOpenFileOnADiskThatFails(t *testing.T) {
	for _, c := range []struct {
		call     string
		from, to int // which of these calls fail
	}{{"open l", 2, 9}, {"open f", 1, 9}, {"open f", 2, 2}, {"open f", 3, 3}, {"statx f", 1, 1}, {"statx f", 2, 9}, {"statx f", 3, 3}} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("f", "l -> f")
			tree := w.open(Config{})
			before, n := maps.Clone(w.Open), 0
			w.Fail = func(call string) error {
				if call == c.call {
					if n++; n >= c.from && n <= c.to {
						return unix.EIO
					}
				}
				return nil
			}
			_, real, info, err := tree.OpenFile("l")
			require.ErrorIs(t, err, unix.EIO, c)
			require.Equal(t, "l", real)
			require.Equal(t, disk.Info{}, info)
			require.Equal(t, before, w.Open)
		})
	}
}

// Where a directory further up may not be entered, that is told too: a mirror must not
// complete the directories above. A file or directory that may not be read itself, and one
// that watch may not read, is told as such.
func TestErrAbove(t *testing.T) {
	simulated(t, 1000, func(t *testing.T, w *world) {
		w.fill("a/", "a/b/", "a/b/c/", "a/b/c/f", "a/b/f", "u/", "u/v/", "u/v/w/", "closed", "l -> a/b/f")
		for _, path := range []string{"a/b", "u/v", "closed"} {
			require.NoError(t, w.Shell.Chmod("/tree/"+path, 0o700))
		}
		w.unread("u")
		tree := w.open(Config{})
		for path, above := range map[string]bool{"a/b": false, "a/b/c": false, "a/b/c/f": true, "closed": false} {
			_, err := tree.OpenDir(path)
			if path != "closed" {
				require.True(t, disk.IsUnreadable(err), path)
				require.Equal(t, above, errors.Is(err, disk.ErrAbove), path)
			}
			_, _, _, err = tree.OpenFile(path)
			if path != "a/b" {
				require.True(t, disk.IsUnreadable(err), path)
				require.Equal(t, above, errors.Is(err, disk.ErrAbove), path)
			}
		}
		_, _, _, err := tree.OpenFile("u/v/w/f")
		require.ErrorIs(t, err, state.ErrUnread)
		require.NotErrorIs(t, err, disk.ErrAbove)
		_, _, _, err = tree.OpenFile("l")
		require.ErrorIs(t, err, disk.ErrNotRegular, "where it leads, nothing is published")
	})
}

// What was opened, or is missing, stays so if the directory above is closed just then.
func TestClosedAfterwards(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("a/", "a/b/", "a/b/c/")
		tree := w.open(Config{})
		w.Refuse("open b", unix.EACCES, -1)
		dir, err := tree.OpenDir("a/b/c")
		require.NoError(t, err)
		require.NoError(t, dir.Close())
		_, err = tree.OpenDir("a/b/none")
		require.NotErrorIs(t, err, disk.ErrAbove)
	})
}

// A symlink is one whose opening failed for it, at the end of a path or on the way.
func TestMayBeLink(t *testing.T) {
	for _, c := range []struct {
		kind mtree.Kind
		err  error
		is   bool
	}{
		{mtree.Symlink, disk.ErrNotRegular, true}, {mtree.Other, unix.ELOOP, true}, {mtree.Other, unix.ENOTDIR, true},
		{mtree.Dir, disk.ErrNotRegular, false}, {mtree.Other, unix.ENOENT, false}, {mtree.File, nil, false},
	} {
		require.Equal(t, c.is, MayBeLink(disk.Info{Kind: c.kind}, c.err), c)
	}
}

// A subvolume of btrfs is another file system, but no mount: what is in it is not opened, unless
// mounts are crossed. It was left out of listings, and sent to all who asked for it by name. On
// other file systems a device proves nothing.
func TestSubvolumesAreNotOpened(t *testing.T) {
	btrfs := func(st *unix.Statfs_t) { st.Type = unix.BTRFS_SUPER_MAGIC }
	another := map[string]bool{"statx sub": true, "statx g": true, "statx d": true, "statx in": true}
	for _, c := range []struct {
		why     string
		showFS  func(st *unix.Statfs_t)
		crosses bool // serve is asked to
		kept    bool // by a watch that does not hear there
		opens   bool
	}{
		{"btrfs", btrfs, false, false, false},
		{"btrfs that is watched", btrfs, false, true, false},
		{"watch does not hear there", btrfs, true, true, false},
		{"mounts are crossed", btrfs, true, false, true},
		{"another file system", nil, false, true, true},
	} {
		simulated(t, 0, func(t *testing.T, w *world) {
			w.fill("f", "a/", "a/sub/", "a/sub/g", "a/sub/d/", "a/sub/in -> g", "toG -> a/sub/g", "toSub -> a/sub", "toF -> f")
			w.ShowFS = c.showFS
			w.Show = func(call string, stx *unix.Statx_t) {
				if another[call] {
					stx.Dev_minor++
				}
			}
			if c.kept {
				w.says(source(), state.Status{State: wire.Watched})
			}
			tree := w.open(Config{CrossMounts: c.crosses})
			before := maps.Clone(w.Open)
			for _, path := range []string{"", "a", "a/sub", "a/sub/d"} {
				dir, err := tree.OpenDir(path)
				if strings.HasPrefix(path, "a/sub") && !c.opens {
					require.True(t, disk.IsBeyond(err), "%s: %s: %v", c.why, path, err)
					require.Nil(t, dir)
					continue
				}
				require.NoError(t, err, "%s: %s", c.why, path)
				require.NoError(t, dir.Close())
			}
			for _, path := range []string{"f", "toF", "a/sub/g", "a/sub/in", "toG"} {
				f, _, info, err := tree.OpenFile(path)
				if c.opens || path == "f" || path == "toF" {
					require.NoError(t, err, "%s: %s", c.why, path)
					require.NoError(t, f.Close())
					continue
				}
				require.True(t, disk.IsAbsent(err), "%s: %s: %v", c.why, path, err)
				require.Equal(t, path != "toG", disk.IsBeyond(err), "%s: %s: %v", c.why, path, err)
				require.NotEqual(t, mtree.File, info.Kind)
			}
			_, _, info, err := tree.OpenFile("a/sub")
			require.Error(t, err, c.why)
			require.Equal(t, c.opens, info.Kind == mtree.Dir, "%s: no redirection tells that it is there", c.why)
			_, kind, err := tree.Resolve("toSub")
			require.NoError(t, err, c.why)
			require.Equal(t, c.opens, kind == mtree.Dir, c.why)
			_, _, _, err = tree.OpenFile("none")
			require.True(t, disk.IsGone(err), "%s: what is missing is on no file system: %v", c.why, err)
			require.Equal(t, before, w.Open, c.why)
		})
	}
}

// On btrfs, a directory of which nobody can say on which subvolume it is, is not opened.
func TestOpenDirOnABtrfsThatFails(t *testing.T) {
	simulated(t, 0, func(t *testing.T, w *world) {
		w.fill("a/")
		w.ShowFS = func(st *unix.Statfs_t) { st.Type = unix.BTRFS_SUPER_MAGIC }
		tree := w.open(Config{})
		before := maps.Clone(w.Open)
		w.Refuse("statx a", unix.EIO, -1)
		dir, err := tree.OpenDir("a")
		require.ErrorIs(t, err, unix.EIO)
		require.Nil(t, dir)
		require.Equal(t, before, w.Open)
	})
}
