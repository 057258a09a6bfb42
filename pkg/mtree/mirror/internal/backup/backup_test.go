package backup

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
)

// bench is a copy with a backup directory, copy and backup below at.
type bench struct {
	*testing.T
	at   string
	root *disk.Dir
	o    Options
	*Dir
}

var passBegan = mtree.Unix(1_700_000_000, 482_913_000)

// prepare makes a copy, without opening its backup directory.
func prepare(t *testing.T, lines ...string) *bench {
	b := &bench{T: t, at: t.TempDir()}
	testtree.Make(t, b.at, "copy/.tidemark/tmp/")
	testtree.Make(t, b.at+"/copy", lines...)
	root, err := disk.OpenRoot(b.at + "/copy")
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	tmp, err := root.OpenDirPath(".tidemark/tmp", false)
	require.NoError(t, err)
	staging, err := disk.OpenStaging(tmp, "stay")
	require.NoError(t, err)
	t.Cleanup(func() { _ = staging.Close() })
	b.root = root
	b.o = Options{
		Dir: "../backup", Dest: b.at + "/copy", Root: root, Staging: staging, Log: slog.New(slog.DiscardHandler),
		Now: func() mtree.Stamp { return passBegan }, Kept: new(atomic.Int64),
	}
	return b
}

// begun makes a copy with a backup directory, in which a pass has begun.
func begun(t *testing.T, lines ...string) *bench {
	b := prepare(t, lines...)
	b.open()
	return b
}

func (b *bench) open() {
	dir, err := Open(&b.o)
	require.NoError(b.T, err)
	b.Cleanup(dir.Close)
	require.NoError(b.T, dir.Begin(passBegan))
	b.Dir = dir
}

// passes returns the names in the backup directory.
func (b *bench) passes() (names []string) {
	all, err := os.ReadDir(b.at + "/backup")
	require.NoError(b.T, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// read returns a file of the n-th pass.
func (b *bench) read(n int, path string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.at, "backup", b.passes()[n], path))
	require.NoError(b.T, err)
	return string(text)
}

func (b *bench) stat(path string) *syscall.Stat_t {
	b.Helper()
	info, err := os.Lstat(filepath.Join(b.at, path))
	require.NoError(b.T, err)
	return info.Sys().(*syscall.Stat_t)
}

func TestNames(t *testing.T) {
	name := nameOf(passBegan, "copy")
	require.Regexp(t, `^2023-11-14T22-13-20\.482Z-[0-9a-f]{8}$`, name)
	at, ok := timeOf(name, "copy")
	require.True(t, ok)
	require.Equal(t, mtree.Unix(1_700_000_000, 482_000_000), at)
	for _, other := range []string{
		"", name[:len(name)-1], name + "0", " " + name, strings.Replace(name, "2023", "2022", 1), strings.ToUpper(name), "2023-11-14T22-13-20.482Z",
		"2023-11-14T22-13-20.482Z-", "keep-" + name, name[:24] + "-00000000", "Z-" + checksum("Z", "copy"), "2023-13-14T22-13-20.482Z-" + checksum("2023-13-14T22-13-20.482Z", "copy"),
		"2023-11-14T22-13-20,482Z-" + checksum("2023-11-14T22-13-20,482Z", "copy"),
	} {
		_, ok := timeOf(other, "copy")
		require.False(t, ok, other)
	}
	_, ok = timeOf(name, "another copy")
	require.False(t, ok)
}

// What is deleted is there with everything, and directories above it are as closed as in the copy.
func TestMove(t *testing.T) {
	b := begun(t, "a/d/f = x @1000000000.5 mode=0640", "a/d/sub/g = y", "a/l -> d/f", "a/keep/k = z", "a/keep/go = w", "closed/f = secret")
	require.NoError(t, os.Chmod(b.at+"/copy/closed", 0o710))
	require.NoError(t, os.Chmod(b.at+"/copy/a/d/sub", 0o555))
	require.NoError(t, os.Chown(b.at+"/copy/closed", 7, 8))
	require.NoError(t, os.Chown(b.at+"/copy/a/d/f", 7, 8))
	old := time.Unix(1_000_000, 0)
	require.NoError(t, os.Chtimes(b.at+"/copy/a/d", old, old))
	dir := func(path string) *disk.Dir {
		d, err := b.root.OpenDirPath(path, false)
		require.NoError(t, err)
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	n, err := b.Move(dir("closed"), "f", disk.Prune{Path: "closed/f"})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = b.Move(dir("a"), "d", disk.Prune{Path: "a/d"})
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	n, err = b.Move(dir("a"), "l", disk.Prune{Path: "a/l"})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = b.Move(dir("a"), "not there", disk.Prune{Path: "a/not there"})
	require.NoError(t, err)
	require.EqualValues(t, 0, n)
	stayed := ""
	n, err = b.Move(b.root, "a", disk.Prune{
		Path: "a", Keep: func(path string, _ bool) bool { return path == "a/keep/k" },
		Stays: func(_ *disk.Dir, path string) error { stayed += path + " "; return nil },
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Equal(t, "a/keep a ", stayed)
	require.EqualValues(t, 7, b.o.Kept.Load())
	require.NoError(t, b.Sync())

	pass := "backup/" + b.passes()[0]
	require.Len(t, b.passes(), 1)
	require.Equal(t, "x", b.read(0, "a/d/f"))
	require.Equal(t, "y", b.read(0, "a/d/sub/g"))
	require.Equal(t, "w", b.read(0, "a/keep/go"))
	require.Equal(t, "z", func() string { text, _ := os.ReadFile(b.at + "/copy/a/keep/k"); return string(text) }())
	f := b.stat(pass + "/a/d/f")
	require.EqualValues(t, 0o640, f.Mode&0o777)
	require.EqualValues(t, []uint32{7, 8}, []uint32{f.Uid, f.Gid})
	require.EqualValues(t, 1_000_000_000, f.Mtim.Sec)
	require.EqualValues(t, 500_000_000, f.Mtim.Nsec)
	require.EqualValues(t, 1_000_000, b.stat(pass+"/a/d").Mtim.Sec)
	require.EqualValues(t, 0o555, b.stat(pass+"/a/d/sub").Mode&0o777)
	closed := b.stat(pass + "/closed")
	require.EqualValues(t, 0o710, closed.Mode&0o777)
	require.EqualValues(t, []uint32{7, 8}, []uint32{closed.Uid, closed.Gid})
	require.NoFileExists(t, b.at+"/copy/a/d")
}

// The root of a tree goes only if that was asked for, and then with its .tidemark.
func TestMoveOfATree(t *testing.T) {
	b := begun(t, "a/own/.tidemark/tree = {}", "a/own/f = x")
	_, err := b.Move(b.root, "a", disk.Prune{Path: "a"})
	require.ErrorIs(t, err, errTree)
	require.FileExists(t, b.at+"/copy/a/own/f")
	n, err := b.Move(b.root, "a", disk.Prune{Path: "a", Trees: true})
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	require.Equal(t, "{}", b.read(0, "a/own/.tidemark/tree"))
}

// A path that is taken in the directory of the pass goes under a later time; nothing there is overwritten.
func TestAPathThatIsTaken(t *testing.T) {
	b := begun(t)
	for i, text := range []string{"first", "second", "a/third"} {
		name, _, isDir := strings.Cut(text, "/")
		if isDir {
			testtree.Make(t, b.at+"/copy", "first/f = below")
		} else {
			name = "first"
			testtree.Make(t, b.at+"/copy", "first = "+text)
		}
		path := "first"
		dir := b.root
		if isDir {
			_ = name
			path = "first/f"
			d, err := b.root.OpenDir("first")
			require.NoError(t, err)
			defer d.Close()
			dir = d
		}
		_, err := b.Move(dir, mtree.BaseName(path), disk.Prune{Path: path})
		require.NoError(t, err)
		require.Len(t, b.passes(), i+1)
	}
	require.Equal(t, "first", b.read(0, "first"))
	require.Equal(t, "second", b.read(1, "first"))
	require.Equal(t, "below", b.read(2, "first/f"))
}

// A pass that keeps nothing leaves nothing, and two passes of one time have two directories.
func TestPassesOfOneTime(t *testing.T) {
	b := begun(t, "f = 1", "g = 2")
	_, err := b.Move(b.root, "f", disk.Prune{Path: "f"})
	require.NoError(t, err)
	require.NoError(t, b.Begin(passBegan))
	_, err = b.Overwrite(b.root, "g", "deep/er/g", func() error { return syscall.EIO })
	require.ErrorIs(t, err, syscall.EIO)
	require.Len(t, b.passes(), 2)
	require.NoError(t, b.Begin(passBegan))
	require.Len(t, b.passes(), 1, "the one that kept nothing is gone")
	_, err = b.Move(b.root, "g", disk.Prune{Path: "g"})
	require.NoError(t, err)
	require.Equal(t, "1", b.read(0, "f"))
	require.Equal(t, "2", b.read(1, "g"))
}

// The old entry and the new one are there at any moment, and the name is never free.
func TestOverwrite(t *testing.T) {
	for _, links := range []bool{true, false} {
		b := begun(t, "f = old", "d/x = tree")
		testtree.Make(t, b.at+"/copy", ".tidemark/tmp/n = new", ".tidemark/tmp/l -> nowhere")
		b.links = links
		done, err := b.Overwrite(b.root, "f", "f", func() error {
			require.Equal(t, "old", b.read(0, "f"))
			require.FileExists(t, b.at+"/copy/f")
			return b.o.Staging.Dir().Rename("n", b.root, "f")
		})
		require.NoError(t, err)
		require.Equal(t, links, done)
		if !done {
			require.NoError(t, b.Exchange(b.o.Staging.Dir(), "n", b.root, "f", "f", 1))
		}
		require.Equal(t, "old", b.read(0, "f"))
		text, err := os.ReadFile(b.at + "/copy/f")
		require.NoError(t, err)
		require.Equal(t, "new", string(text))
		n, err := b.Replace(b.o.Staging.Dir(), "l", b.root, "d", disk.Prune{Path: "d"})
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		require.Equal(t, "tree", b.read(0, "d/x"))
		require.EqualValues(t, 3, b.o.Kept.Load())
		left, err := os.ReadDir(b.at + "/copy/.tidemark/tmp")
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// What cannot be put into its place leaves the copy and the backup as they were.
func TestAnExchangeThatFails(t *testing.T) {
	b := begun(t, "f = old")
	testtree.Make(t, b.at+"/copy", ".tidemark/tmp/n = new")
	require.Error(t, b.Exchange(b.o.Staging.Dir(), "n", b.root, "not there", "p/not there", 1))
	require.FileExists(t, b.at+"/copy/.tidemark/tmp/n")
	_, err := b.Overwrite(b.root, "f", "f", func() error { return syscall.ENOSPC })
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.EqualValues(t, 1, b.stat("copy/f").Nlink)
	require.EqualValues(t, 0, b.o.Kept.Load())
}

// A backup directory that was removed is an error that nobody takes for "the entry is gone". The next
// pass makes it again.
func TestADirectoryThatIsRemoved(t *testing.T) {
	b := begun(t, "f = x")
	require.NoError(t, os.RemoveAll(b.at+"/backup"))
	_, err := b.Move(b.root, "f", disk.Prune{Path: "f"})
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrNotExist)
	require.False(t, disk.IsGone(err))
	require.FileExists(t, b.at+"/copy/f")
	require.NoError(t, b.Begin(passBegan))
	_, err = b.Move(b.root, "f", disk.Prune{Path: "f"})
	require.NoError(t, err)
	require.Equal(t, "x", b.read(0, "f"))
}

// Another directory has the path now: it is used if it may be.
func TestADirectoryThatIsReplaced(t *testing.T) {
	b := begun(t, "f = x", "g = y")
	require.NoError(t, os.Rename(b.at+"/backup", b.at+"/elsewhere"))
	testtree.Make(t, b.at, "backup/")
	require.NoError(t, b.Begin(passBegan))
	_, err := b.Move(b.root, "f", disk.Prune{Path: "f"})
	require.NoError(t, err)
	require.Equal(t, "x", b.read(0, "f"))
	require.NoError(t, os.Rename(b.at+"/backup", b.at+"/third"))
	require.NoError(t, os.Symlink("copy", b.at+"/backup"))
	require.Equal(t, exit.Local, exit.Of(b.Begin(passBegan)))
}

func TestWhereItMayLie(t *testing.T) {
	tree := "tree/.tidemark/tree = " + `{"format":1,"tree":"` + strings.Repeat("1", 32) + `","role":"source"}`
	for _, c := range []struct {
		dir  string
		code exit.Code
	}{
		{"../backup", 0}, {".tidemark/backup", 0}, {"../link", 0}, {"../sub/../backup", 0}, {"..", 0}, {"../cloned/b", 0},
		{".", exit.Usage}, {"d/b", exit.Usage}, {"d", exit.Usage}, {".tidemark", exit.Usage}, {".tidemark/tmp", exit.Usage}, {".tidemark/tmp/x", exit.Usage},
		{"../into", exit.Usage}, {"../source/b", exit.Usage}, {"../source", exit.Usage},
		{"../tree/b", exit.Refused}, {"../tree", exit.Refused}, {"../tree/deep/b", exit.Refused},
		{"../not/there/b", exit.Local}, {"../file", exit.Local}, {"../file/b", exit.Local},
	} {
		b := prepare(t, "d/f = x")
		testtree.Make(t, b.at, "target/", "link -> target", "into -> copy/d", "source/f = x", tree, "tree/deep/f = x", "cloned/.tidemark/other = x", "file = x", "sub/")
		b.o.Sources, b.o.Dir = []string{b.at + "/other", b.at + "/source"}, c.dir
		before, err := testtree.Snapshot(b.at)
		require.NoError(t, err)
		require.Equal(t, c.code == 0, Check(&b.o) == nil, c.dir)
		dir, err := Open(&b.o)
		if c.code == 0 {
			require.NoError(t, err, c.dir)
			dir.Close()
			continue
		}
		require.Equal(t, c.code, exit.Of(err), "%s: %v", c.dir, err)
		var with *exit.Error
		require.ErrorAs(t, err, &with)
		require.NotEmpty(t, with.Remedy, c.dir)
		after, err := testtree.Snapshot(b.at)
		require.NoError(t, err)
		require.Equal(t, before, after, "%s: nothing was made", c.dir)
	}
}

// Of what is old Expire removes what this copy made, and nothing else.
func TestExpire(t *testing.T) {
	b := prepare(t, "f = x")
	b.o.Age = 24 * time.Hour
	key, err := state.PlaceOf(b.root)
	require.NoError(t, err)
	days := func(n int) mtree.Stamp { return passBegan.Add(-time.Duration(n) * 24 * time.Hour) }
	old, older, young := nameOf(days(2), key), nameOf(days(30), key), nameOf(days(0).Add(-23*time.Hour), key)
	keep := []string{
		young, nameOf(days(30), "another copy"), "2020-01-01T00-00-00.000Z", "2020-01-01T00-00-00.000Z-00000000", "keep-" + old, old + ".bak",
		"2020-01-01", "0", "lost+found", ".hidden", nameOf(passBegan.Add(time.Hour), key),
	}
	for _, name := range append(keep, old, older) {
		testtree.Make(t, b.at, "backup/"+name+"/d/f = x", "backup/"+name+"/own/.tidemark/tree = x")
	}
	require.NoError(t, os.Chmod(b.at+"/backup/"+old+"/d", 0))
	file := nameOf(days(3), key)
	link := nameOf(days(4), key)
	testtree.Make(t, b.at, "backup/"+file+" = a file", "precious/f = x")
	require.NoError(t, os.Symlink("../precious", b.at+"/backup/"+link))
	b.open()
	_, err = b.Move(b.root, "f", disk.Prune{Path: "f"})
	require.NoError(t, err)

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := b.Expire(stopped)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = b.Expire(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.ElementsMatch(t, append(keep, file, link, nameOf(passBegan, key)), b.passes())
	require.FileExists(t, b.at+"/precious/f")
	require.FileExists(t, b.at+"/backup/"+young+"/own/.tidemark/tree")

	b.o.Now = func() mtree.Stamp { return passBegan.Add(100 * 24 * time.Hour) }
	b.Dir.o.Now = b.o.Now
	n, err = b.Expire(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n, "not what this pass has")
	require.Contains(t, b.passes(), nameOf(passBegan, key))
}

// A mirror that ends does not go on with a large backup, not even in one directory of it.
func TestExpiryEndsWithItsMirror(t *testing.T) {
	b := prepare(t, "f = x")
	b.o.Age = time.Hour
	key, err := state.PlaceOf(b.root)
	require.NoError(t, err)
	old := nameOf(passBegan.Add(-24*time.Hour), key)
	for i := range 100 {
		testtree.Make(t, b.at, fmt.Sprintf("backup/%s/f%d = x", old, i))
	}
	for i := range 30 {
		testtree.Make(t, b.at, fmt.Sprintf("backup/%s/", nameOf(passBegan.Add(-time.Duration(i*7%30)*time.Minute), key)))
	}
	b.open()
	b.Dir.o.Age = -time.Hour
	dir, err := b.another()
	require.NoError(t, err)
	defer dir.Close()
	names, err := b.expired(dir)
	require.NoError(t, err)
	require.Len(t, names, 31)
	require.IsIncreasing(t, names, "the oldest is the first")
	b.Dir.o.Age = time.Hour
	ctx := &ending{Context: t.Context(), looks: 150} // after the scan, in the middle of what it found
	n, err := b.Expire(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
	left, err := os.ReadDir(b.at + "/backup/" + old)
	require.NoError(t, err)
	require.NotEmpty(t, left)
	require.Less(t, len(left), 100)
	n, err = b.Expire(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// ending is a context that ends after so many looks.
type ending struct {
	context.Context
	looks int
}

func (e *ending) Err() error {
	if e.looks--; e.looks < 0 {
		return context.Canceled
	}
	return nil
}

// A copy is opened anew when its .tidemark was removed. If that failed, the backup directory was closed twice: a
// panic in place of an exit code.
func TestABackupIsClosedTwice(t *testing.T) {
	b := begun(t, "f")
	b.Dir.Close()
	b.Dir.Close()
}
