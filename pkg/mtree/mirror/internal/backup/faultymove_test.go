package backup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// An entry is moved by one rename. A file is looked at once, and nothing is made accessible for it.
func TestCallsOfAMove(t *testing.T) {
	k := opened(t, 0, "/copy/f", "/copy/d/f", "/copy/d/sub/g")
	n, err := k.move("f")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Equal(t, 1, k.times("statx f"))
	n, err = k.move("d")
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	require.Equal(t, 1, k.times("rename d"))
	require.Zero(t, k.times("chmod d"))
	k.Refuse("statx g", unix.EIO, 1)
	_, err = k.move("g")
	require.ErrorIs(t, err, unix.EIO)
	k.Fail = nil
	n, err = k.move("g")
	require.NoError(t, err)
	require.Zero(t, n)
}

// What vanishes while it is moved is no error, and was not moved.
func TestMoveOfWhatVanishes(t *testing.T) {
	for _, path := range []string{"f", "d"} {
		k := opened(t, 0, "/copy/f", "/copy/d/f")
		k.before("rename "+path, 1, func() { require.NoError(t, k.Shell.Remove("/copy/"+path)) })
		n, err := k.move(path)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Zero(t, k.o.Kept.Load())
		require.Empty(t, k.kept())
		k.b.Close()
	}
}

// closed is a copy of somebody who may not do everything. In it is a directory that nobody may enter, and one that is
// like others; n is staged.
func closed(t *testing.T) *faulty {
	k := opened(t, someone, "/copy/d/f", "/copy/d/g", "/copy/f", "/copy/open/f")
	k.Make(t, "/copy/.tidemark/tmp/n")
	require.NoError(t, k.Shell.Chmod("/copy/d", 0))
	return k
}

// fails says which calls fail: the n-th of these, and how.
type fails map[string]map[int]error

func (f fails) each() func(call string) error {
	seen := map[string]int{}
	return func(made string) error {
		seen[made]++
		return f[made][seen[made]]
	}
}

// A directory is written to when it is moved. So it is made accessible for a moment, and only then.
func TestMoveOfWhatIsClosed(t *testing.T) {
	k := closed(t)
	n, err := k.move("d")
	require.NoError(t, err)
	require.EqualValues(t, 3, n, "what is in it counts")
	require.Zero(t, k.mode(k.turn()+"/d"))
	require.Equal(t, []string{"d", "d/f", "d/g"}, k.kept())

	for name, c := range map[string]struct {
		path string
		fail fails
		want int64 // how many entries are moved all the same
	}{
		"a file":                {"f", fails{"rename f": {1: unix.EPERM}}, 0},
		"the disk fails":        {"d", fails{"rename d": {1: unix.EIO}}, 0},
		"denied twice":          {"d", fails{"rename d": {2: unix.EACCES}}, 0},
		"may not be accessible": {"open", fails{"rename open": {1: unix.EACCES}, "chmod open": {1: unix.EPERM}}, 0},
		"stays accessible":      {"d", fails{"chmod d": {4: unix.EIO}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			k := closed(t)
			k.Fail = c.fail.each()
			n, err := k.move(c.path)
			require.Error(t, err)
			require.Equal(t, c.want, n)
			if c.want == 0 {
				require.Empty(t, k.kept())
				require.Zero(t, k.mode("/copy/d"))
				require.EqualValues(t, 0o644, k.mode("/copy/f"))
			}
		})
	}
}

// What nobody can count is not moved. An error of the disk is told as such.
func TestMoveOfWhatCannotBeCounted(t *testing.T) {
	k := opened(t, 0, "/copy/own/.tidemark/tree", "/copy/own/f", "/copy/own/k")
	k.Refuse("list own", unix.EIO, 1)
	_, err := k.move("own")
	require.ErrorIs(t, err, unix.EIO)
	require.NotErrorIs(t, err, errTree)
	k.Make(t, "/copy/d/f", "/copy/d/k")
	keep := func(path string, _ bool) bool { return path == "d/f" }
	k.Refuse("statx k", unix.EIO, 1)
	_, err = k.b.Replace(k.o.Staging.Dir(), "n", k.root, "d", disk.Prune{Path: "d", Keep: keep})
	require.ErrorIs(t, err, unix.EIO)
	require.NotErrorIs(t, err, errStays)
	k.Fail = nil
	_, err = k.b.Replace(k.o.Staging.Dir(), "n", k.root, "d", disk.Prune{Path: "d", Keep: keep})
	require.ErrorIs(t, err, errStays)
	require.Equal(t, []string{"/copy/d", "/copy/d/f", "/copy/d/k", "/copy/own", "/copy/own/f", "/copy/own/k"}, k.all("/copy"))
	require.Empty(t, k.kept())
}

// apart lets nobody rename the directory top, as with a lower layer of an overlayfs. Its entries are moved one by one.
func apart(t *testing.T, uid uint32, paths ...string) *faulty {
	k := opened(t, uid, paths...)
	k.Refuse("rename top", unix.EXDEV, -1)
	return k
}

// also adds a call that fails n times to those that do.
func (k *faulty) also(call string, n int, err error) {
	was := k.Fail
	k.Fail = func(made string) error {
		if made == call {
			if n--; n >= 0 {
				return err
			}
		}
		return was(made)
	}
}

func TestMoveEntryByEntry(t *testing.T) {
	k := apart(t, 0, "/copy/top/f", "/copy/top/sub/g")
	require.NoError(t, k.Shell.Touch("/copy/top", passBegan.Time(), true))
	n, err := k.moveBut(disk.Prune{Path: "top", Stays: func(*disk.Dir, string) error { t.Error("nothing stays"); return nil }})
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	require.Equal(t, []string{"top", "top/f", "top/sub", "top/sub/g"}, k.kept())
	require.Empty(t, k.all("/copy"))
	require.Equal(t, passBegan.Time().Unix(), k.stat(k.turn()+"/top").Mtime.Sec)
	require.Equal(t, 3, k.times("statx f"), "it is counted, asked for, and moved")
	require.Equal(t, 1, k.times("chmod top"), "the directory of the backup got the mode of the copy")
}

// A directory is closed, and kept, when everything that does not stay has been moved out of it.
func TestMoveEntryByEntryFromWhatIsClosed(t *testing.T) {
	k := apart(t, someone, "/copy/top/f")
	require.NoError(t, k.Shell.Chmod("/copy/top", 0o500))
	n, err := k.move("top")
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	require.Equal(t, []string{"top", "top/f"}, k.kept())
	require.Empty(t, k.all("/copy"))
}

// What is kept stays, with the directories above it.
func TestMoveEntryByEntryOfWhatStays(t *testing.T) {
	k := apart(t, 0, "/copy/top/f", "/copy/top/keep/k", "/copy/top/sub/g")
	kinds := map[string]bool{}
	p := disk.Prune{Path: "top", Keep: func(path string, isDir bool) bool {
		kinds[path] = isDir
		return path == "top/keep/k"
	}}
	n, err := k.moveBut(p)
	require.NoError(t, err, "nobody asks what stays")
	require.EqualValues(t, 3, n)
	require.Equal(t, map[string]bool{"top/f": false, "top/keep": true, "top/keep/k": false, "top/sub": true, "top/sub/g": false}, kinds)
	require.Equal(t, []string{"top", "top/f", "top/sub", "top/sub/g"}, k.kept())
	p.Stays = func(_ *disk.Dir, path string) error { return unix.ENOSPC }
	_, err = k.moveBut(p)
	require.ErrorIs(t, err, unix.ENOSPC)

	kinds = map[string]bool{}
	p.Keep = func(path string, isDir bool) bool {
		kinds[path] = isDir
		return isDir
	}
	p.Stays = nil
	n, err = k.moveBut(p)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, map[string]bool{"top/keep": true}, kinds)
}

// The marker of a tree goes with it, whatever filters say of its name, and only if that was asked for.
func TestMoveEntryByEntryOfATree(t *testing.T) {
	k := apart(t, 0, "/copy/top/.tidemark/tree", "/copy/top/f")
	_, err := k.move("top")
	require.ErrorIs(t, err, errTree)
	info, err := k.root.Stat("top")
	require.NoError(t, err)
	_, err = k.b.moveBelow(k.root, "top", info, disk.Prune{Path: "top"})
	require.ErrorIs(t, err, unix.ENOTEMPTY, "it became one after it was counted")
	require.Equal(t, []string{"tree"}, k.Shell.Names("/copy/top/.tidemark"))
	n, err := k.moveBut(disk.Prune{Path: "top", Trees: true, Keep: func(path string, _ bool) bool { return strings.HasSuffix(path, mtree.MarkerName) }})
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	require.Equal(t, []string{"tree"}, k.Shell.Names(k.turn()+"/top/.tidemark"))
	require.Empty(t, k.all("/copy"))
}

// What fails leaves its entry and the directories above it.
func TestMoveEntryByEntryThatFails(t *testing.T) {
	none := []string{"/copy/top", "/copy/top/f", "/copy/top/g"}
	for name, c := range map[string]struct {
		call string
		n    int
		left []string
	}{
		"a look":           {"statx f", 2, []string{"/copy/top", "/copy/top/f"}},
		"a rename":         {"rename f", 1, []string{"/copy/top", "/copy/top/f"}},
		"its opening":      {"open top", 2, none},
		"its time":         {"utimes top", 1, []string{"/copy/top"}},
		"its removal":      {"unlink top", 1, []string{"/copy/top"}},
		"its names":        {"list top", 3, none},
		"the first look":   {"statx top", 1, none},
		"what is below it": {"open top", 3, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := apart(t, 0, "/copy/top/f", "/copy/top/g")
			n := c.n
			was := k.Fail
			k.Fail = func(made string) error {
				if made == c.call {
					if n--; n == 0 {
						return unix.EIO
					}
				}
				return was(made)
			}
			_, err := k.moveBut(disk.Prune{Path: "top"})
			require.ErrorIs(t, err, unix.EIO)
			if c.left != nil {
				require.Equal(t, c.left, k.all("/copy"))
			}
			k.Fail = was
			_, err = k.move("top")
			require.NoError(t, err)
			require.Equal(t, []string{"top", "top/f", "top/g"}, k.kept())
			require.Empty(t, k.all("/copy"))
		})
	}
	k := apart(t, 0, "/copy/top/f", "/copy/top/g")
	k.also("statx f", 1, unix.EIO)
	from := k.dir("top")
	keep := func(string, bool) bool { return true }
	_, _, err := k.b.moveEach(from, disk.Prune{Path: "top", Keep: keep})
	require.ErrorIs(t, err, unix.EIO)
	require.Len(t, k.all("/copy"), 3, "nobody knows what stays")
	k.also("statx f", 1, unix.ENOENT)
	moved, stays, err := k.b.moveEach(from, disk.Prune{Path: "top"})
	require.NoError(t, err, "it is gone")
	require.False(t, stays)
	require.EqualValues(t, 1, moved)
}
