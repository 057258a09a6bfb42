package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// faulty is a copy, /copy, with a backup directory on a machine in memory of which single calls fail.
type faulty struct {
	*faultkernel.Kernel
	t    *testing.T
	root *disk.Dir
	o    Options
	b    *Dir
}

// someone is a user who may not do everything. Tests of a mode need one.
const someone = 7

// unopened makes a copy with these files, and no backup directory in use. All belongs to the user of mirror.
func unopened(t *testing.T, uid uint32, dir string, paths ...string) *faulty {
	k := &faulty{Kernel: faultkernel.New(t, uid), t: t}
	k.Make(t, "/copy/.tidemark/tmp/")
	k.Make(t, paths...)
	k.chown("", int(uid))
	root, err := disk.OpenRoot("/copy")
	require.NoError(t, err)
	tmp, err := root.OpenDirPath(".tidemark/tmp", false)
	require.NoError(t, err)
	staging, err := disk.OpenStaging(tmp, "stay")
	require.NoError(t, err)
	k.root = root
	k.o = Options{
		Dir: dir, Dest: "/copy", Root: root, Staging: staging, Log: slog.New(slog.DiscardHandler),
		Now: func() mtree.Stamp { return passBegan }, Kept: new(atomic.Int64),
	}
	t.Cleanup(func() {
		k.Fail, k.Show = nil, nil
		k.b.Close()
		_ = staging.Close()
		_ = root.Close()
		require.Empty(t, k.Open, "nothing is left open")
	})
	return k
}

// opened makes a copy with a backup directory, /backup, in which a pass has begun.
func opened(t *testing.T, uid uint32, paths ...string) *faulty {
	k := unopened(t, uid, "/backup", paths...)
	k.open()
	return k
}

func (k *faulty) open() {
	k.t.Helper()
	var err error
	k.b, err = Open(&k.o)
	require.NoError(k.t, err)
	require.NoError(k.t, k.b.Begin(passBegan))
	k.Made("")
}

// chown gives all at and below a path to a user.
func (k *faulty) chown(path string, uid int) {
	for _, name := range k.Shell.Names(path + "/") {
		k.chown(path+"/"+name, uid)
	}
	require.NoError(k.t, k.Shell.Chown(cmp.Or(path, "/"), uid))
}

// all returns the paths of all files and directories at and below a path, but for .tidemark.
func (k *faulty) all(path string) (all []string) {
	for _, name := range k.Shell.Names(path) {
		if name != mtree.MarkerName {
			all = append(all, path+"/"+name)
			all = append(all, k.all(path+"/"+name)...)
		}
	}
	return all
}

// kept returns what is in the backup: the paths in its passes, together.
func (k *faulty) kept() (all []string) {
	for _, turn := range k.Shell.Names("/backup") {
		for _, path := range k.all("/backup/" + turn) {
			all = append(all, strings.TrimPrefix(path, "/backup/"+turn+"/"))
		}
	}
	return all
}

// turn is the path of the first directory of the pass.
func (k *faulty) turn() string { return "/backup/" + k.Shell.Names("/backup")[0] }

func (k *faulty) stat(path string) unix.Statx_t {
	k.t.Helper()
	stx, err := k.Shell.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	require.NoError(k.t, err)
	return stx
}

func (k *faulty) mode(path string) uint16 {
	k.t.Helper()
	return k.stat(path).Mode & 0o7777
}

// dir opens a directory of the copy.
func (k *faulty) dir(path string) *disk.Dir {
	k.t.Helper()
	d, err := k.root.OpenDirPath(path, false)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { _ = d.Close() })
	return d
}

// move moves a path of the copy into the backup.
func (k *faulty) move(path string) (int64, error) { return k.moveBut(disk.Prune{Path: path}) }

func (k *faulty) moveBut(p disk.Prune) (int64, error) {
	k.t.Helper()
	dir, err := k.root.OpenDirPath(mtree.ParentPath(p.Path), false)
	require.NoError(k.t, err)
	defer dir.Close()
	k.Made("")
	return k.b.Move(dir, mtree.BaseName(p.Path), p)
}

// times returns how many of the last calls are this one.
func (k *faulty) times(call string) (n int) {
	for _, made := range k.Calls {
		if made == call {
			n++
		}
	}
	return n
}

// refuseFrom lets all of these calls fail from the n-th on.
func (k *faulty) refuseFrom(call string, n int, err error) {
	k.Fail = func(made string) error {
		if made == call {
			if n--; n <= 0 {
				return err
			}
		}
		return nil
	}
}

// before does something just before the n-th of these calls.
func (k *faulty) before(call string, n int, do func()) {
	k.Fail = func(made string) error {
		if made == call {
			if n--; n == 0 {
				do()
			}
		}
		return nil
	}
}

// remedyOf returns the code of an error, and its remedy.
func remedyOf(err error) (exit.Code, string) {
	var with *exit.Error
	if !errors.As(err, &with) {
		return exit.Of(err), ""
	}
	return with.Code, with.Remedy
}

// An error says what is to be done: of Check, which makes nothing, and of Open.
func TestWhyABackupCannotBeUsed(t *testing.T) {
	const above = "make the directory above --backup-dir first"
	const notDir = "--backup-dir must be a directory, and all above it"
	for name, c := range map[string]struct {
		dir     string
		call    string
		from    int
		err     error
		code    exit.Code // of Open; 0: it can be used
		remedy  string
		checked bool // Check says the same
	}{
		"fine":                {dir: "/backup", checked: true},
		"from the copy":       {dir: "../backup", checked: true},
		"inside":              {dir: Inside, checked: true},
		"nothing above":       {"/not/there/backup", "", 0, nil, exit.Local, above, true},
		"a file":              {"/file", "", 0, nil, exit.Local, notDir, true},
		"below a file":        {"/file/backup", "", 0, nil, exit.Local, notDir, true},
		"cannot be made":      {"/backup", "mkdir backup", 1, unix.EIO, exit.Local, remedyUse, false},
		"cannot be opened":    {"/there", "open there", 6, unix.EIO, exit.Local, remedyUse, false},
		"cannot be looked at": {"/there", "statx there", 1, unix.EIO, exit.Failed, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			k := unopened(t, 0, c.dir, "/there/", "/file", "/source/")
			k.o.Sources = []string{"/source", "/none"}
			open := len(k.Open)
			if c.checked {
				code, remedy := remedyOf(Check(&k.o))
				require.Equal(t, c.code, code)
				require.Equal(t, c.remedy, remedy)
				require.Len(t, k.Open, open)
			}
			k.refuseFrom(c.call, c.from, c.err)
			b, err := Open(&k.o)
			k.b = b
			if c.code == 0 {
				require.NoError(t, err)
				require.Len(t, k.Open, open+1)
				return
			}
			code, remedy := remedyOf(err)
			require.Equal(t, c.code, code, err)
			require.Equal(t, c.remedy, remedy)
			require.Len(t, k.Open, open)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
		})
	}
}

// Check makes nothing, and so does not try what a rename shows: it compares devices.
func TestCheckSeesAnotherFileSystem(t *testing.T) {
	k := unopened(t, 0, "/backup", "/backup/")
	k.Show = func(call string, stx *unix.Statx_t) {
		if call == "statx backup" {
			stx.Dev_minor++
		}
	}
	open := len(k.Open)
	err := Check(&k.o)
	code, remedy := remedyOf(err)
	require.Equal(t, exit.Refused, code)
	require.Equal(t, remedyOther, remedy)
	require.ErrorIs(t, err, unix.EXDEV)
	require.Len(t, k.Open, open)
	k.Show = nil
	require.NoError(t, Check(&k.o))
	k.Calls = nil
	require.NoError(t, Check(&k.o))
	opens, stats := k.times("open backup"), k.times("statx copy")
	k.RefuseNth("open backup", opens, unix.EACCES)
	code, remedy = remedyOf(Check(&k.o))
	require.Equal(t, exit.Local, code)
	require.Equal(t, remedyUse, remedy)
	k.RefuseNth("statx copy", stats, unix.EIO)
	require.NoError(t, Check(&k.o), "Open will say it")
	k.RefuseNth("statx copy", 1, unix.EIO)
	code, _ = remedyOf(Check(&k.o))
	require.Equal(t, exit.Local, code, "nobody knows where it lies")
	k.Fail = nil
	k.o.Root = nil
	require.NoError(t, Check(&k.o), "no copy yet")
	require.Len(t, k.Open, open)
}

// The directories above the backup are looked at as far up as that is allowed.
func TestWhatLiesAboveABackup(t *testing.T) {
	k := opened(t, 0)
	for _, call := range []string{"open ..", "statx .."} {
		k.Refuse(call, unix.EACCES, -1)
		require.NoError(t, Check(&k.o), call)
	}
	k.Fail = nil
	require.NoError(t, k.b.Begin(passBegan))
	k.Make(t, "/.tidemark/")
	require.NoError(t, k.Shell.Write("/.tidemark/tree", `{"format":1,"tree":"`+strings.Repeat("1", 32)+`","role":"source"}`))
	err := k.b.Begin(passBegan)
	require.Equal(t, exit.Local, exit.Of(err), "somebody publishes all now")
	require.ErrorContains(t, err, "lies in a tree or copy")
}

// A pass goes on in the directory that is open, as long as its path leads there.
func TestWhichBackupAPassUses(t *testing.T) {
	for _, dir := range []string{"/backup", Inside} {
		t.Run(dir, func(t *testing.T) {
			k := unopened(t, 0, dir)
			k.open()
			require.Equal(t, dir, k.b.Path())
			open, was := len(k.Open), k.b.dir
			again := func() bool {
				require.NoError(t, k.b.Begin(passBegan))
				require.Len(t, k.Open, open)
				same := was == k.b.dir
				was = k.b.dir
				return same
			}
			require.True(t, again())
			path := dir
			if dir == Inside {
				require.NoError(t, k.Shell.Rename("/copy", "/moved", 0))
				require.True(t, again(), "it is in the copy, wherever that is")
				path = "/moved/" + Inside
			}
			require.NoError(t, k.Shell.Rename(path, "/was", 0))
			require.False(t, again(), "it was removed")
			require.True(t, again())
			require.NoError(t, k.Shell.Rename(path, "/older", 0))
			k.Make(t, path+"/")
			require.False(t, again(), "another one")
			for n := 1; n <= 2; n++ {
				k.RefuseNth("statx backup", n, unix.EIO)
				require.False(t, again(), "nobody knows which it is")
			}
			k.Refuse("statx backup", unix.EIO, 2)
			require.False(t, again(), "of neither")
		})
	}
}

// .tidemark/backup is opened by single names.
func TestABackupInsideThatCannotBeOpened(t *testing.T) {
	k := unopened(t, 0, Inside)
	for call, remedy := range map[string]string{"open .tidemark": "", "mkdir backup": remedyUse, "open backup": remedyUse, "statx copy": ""} {
		k.Refuse(call, unix.EIO, 1)
		_, err := Open(&k.o)
		require.ErrorIs(t, err, unix.EIO, call)
		code, text := remedyOf(err)
		require.Equal(t, exit.Local, code, call)
		require.Equal(t, remedy, text, call)
	}
	k.Fail = nil
	require.NoError(t, Check(&k.o))
	for range 2 {
		open := len(k.Open)
		b, err := Open(&k.o)
		require.NoError(t, err)
		require.Len(t, k.Open, open+1)
		b.Close()
	}
}

// What is renamed into the backup needs hard links there, or names that can be exchanged.
func TestWhatAFileSystemCanDo(t *testing.T) {
	for name, c := range map[string]struct {
		noLinks bool
		call    string
		n       int
		err     error
		code    exit.Code
		remedy  string
	}{
		"links":                {},
		"no links":             {noLinks: true},
		"nothing can be made":  {false, "open 1", 1, unix.EIO, exit.Local, ""},
		"the disk fails":       {false, "link", 1, unix.EIO, exit.Local, remedyUse},
		"another mount":        {false, "link", 1, unix.EXDEV, exit.Refused, remedyOther},
		"no links, no renames": {true, "rename", 1, unix.EIO, exit.Local, remedyUse},
		"no second file":       {true, "open 1", 2, unix.EIO, exit.Local, remedyUse},
		"no exchange":          {true, "rename", 2, unix.EINVAL, exit.Refused, "use another file system for DEST, or no --backup-dir"},
		"no such call":         {true, "rename", 2, unix.ENOSYS, exit.Refused, "use another file system for DEST, or no --backup-dir"},
		"a failing exchange":   {true, "rename", 2, unix.EIO, exit.Local, remedyUse},
	} {
		t.Run(name, func(t *testing.T) {
			k := unopened(t, 0, "/backup")
			k.NoLinks = c.noLinks
			n := c.n
			k.Fail = func(made string) error {
				if what, of, _ := strings.Cut(made, " "); made == c.call || what == c.call && strings.HasPrefix(of, ".tidemark-probe-") {
					if n--; n == 0 {
						return c.err
					}
				}
				return nil
			}
			b, err := Open(&k.o)
			k.b = b
			require.Empty(t, k.Shell.Names("/copy/.tidemark/tmp"))
			require.Empty(t, k.Shell.Names("/backup"))
			if c.code == 0 {
				require.NoError(t, err)
				require.Equal(t, !c.noLinks, b.links)
				return
			}
			require.ErrorIs(t, err, c.err)
			code, remedy := remedyOf(err)
			require.Equal(t, c.code, code)
			require.Equal(t, c.remedy, remedy)
		})
	}
}

// A pass removes the directories that it made for nothing, and leaves an empty one that it kept.
func TestWhatAPassLeaves(t *testing.T) {
	k := opened(t, 0, "/copy/empty/", "/copy/a/f")
	n, err := k.move("empty")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, k.b.Begin(passBegan))
	require.Equal(t, []string{"empty"}, k.kept())
	done, err := k.b.Overwrite(k.dir("a"), "f", "a/f", func() error { return unix.EIO })
	require.True(t, done)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, []string{"empty", "a"}, k.kept())
	open := len(k.Open)
	k.b.Close()
	require.Less(t, len(k.Open), open)
	require.Equal(t, []string{"empty"}, k.kept())
	k.b.Close()
	(*Dir)(nil).Close()
}

// What a pass was about to flush when it ended is flushed by the next one, and nothing else.
func TestWhatTheNextPassFlushes(t *testing.T) {
	k := opened(t, 0, "/copy/f")
	require.NoError(t, k.b.Sync())
	require.NoError(t, (*Dir)(nil).Sync())
	require.Zero(t, k.Made("fsync")+k.Made("syncfs"))
	_, err := k.move("f")
	require.NoError(t, err)
	require.NoError(t, k.b.Begin(passBegan))
	k.Made("")
	require.NoError(t, k.b.Sync())
	require.Equal(t, []string{"syncfs backup"}, k.Calls)
}

// Each directory that got entries is flushed, those above it, and nothing twice.
func TestWhatABackupFlushes(t *testing.T) {
	k := opened(t, 0, "/copy/a/b/f", "/copy/a/b/g", "/copy/c/f", "/copy/h")
	for _, path := range []string{"a/b/f", "a/b/g", "c/f", "h"} {
		_, err := k.move(path)
		require.NoError(t, err)
	}
	turn := mtree.BaseName(k.turn())
	flushed := func() (all []string) {
		for _, call := range k.Calls {
			if dir, ok := strings.CutPrefix(call, "fsync "); ok {
				all = append(all, dir)
			}
		}
		require.Zero(t, k.Made("syncfs"))
		return all
	}
	k.Made("")
	require.NoError(t, k.b.Sync())
	require.Equal(t, []string{"a", "b", "c", turn, "backup"}, flushed())
	require.NoError(t, k.b.Sync())
	require.Empty(t, flushed())

	testFiles := []string{"/copy/a/b/i", "/copy/c/i"}
	k.Make(t, testFiles...)
	done, err := k.b.Overwrite(k.dir("a/b"), "i", "a/b/i", func() error {
		k.Made("")
		require.NoError(t, k.b.Sync())
		require.Equal(t, []string{"b", turn, "backup"}, flushed(), "the second name is there")
		return nil
	})
	require.NoError(t, err)
	require.True(t, done)
	_, err = k.move("c/i")
	require.NoError(t, err)
	require.NoError(t, k.Shell.Remove(k.turn()+"/c"))
	k.Made("")
	require.NoError(t, k.b.Sync())
	require.Equal(t, []string{"b", turn, "backup"}, flushed(), "and what came after")
}

// What could not be flushed is flushed by the next call, with all else.
func TestAFlushThatFails(t *testing.T) {
	k := opened(t, 0, "/copy/a/1", "/copy/a/2", "/copy/a/3", "/copy/a/4", "/copy/a/5")
	calls := func(n int) string {
		return []string{"fsync a", "open a", "fsync " + mtree.BaseName(k.turn()), "fsync backup", "syncfs backup"}[n]
	}
	for n := range 5 {
		_, err := k.move("a/" + string(rune('1'+n)))
		require.NoError(t, err)
		if n == 4 {
			k.b.dirty.all = true
		}
		k.Refuse(calls(n), unix.EIO, 1)
		require.ErrorIs(t, k.b.Sync(), unix.EIO, calls(n))
		k.Made("")
		require.NoError(t, k.b.Sync())
		require.Equal(t, []string{"syncfs backup"}, k.Calls)
	}
}

// Few directories are flushed one by one, and many with the whole file system.
func TestManyDirectoriesAreFlushedAtOnce(t *testing.T) {
	for n, each := range map[int]bool{fewSyncs - 1: true, fewSyncs: false, fewSyncs + 1: false} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			k := opened(t, 0)
			for i := range n { // and the one above them
				path := fmt.Sprintf("d%d/f", i)
				k.Make(t, "/copy/"+path)
				_, err := k.move(path)
				require.NoError(t, err)
			}
			k.Made("")
			require.NoError(t, k.b.Sync())
			if each {
				require.Zero(t, k.times("syncfs backup"))
				require.Equal(t, n+2, k.Made("fsync"))
				return
			}
			require.Equal(t, []string{"syncfs backup"}, k.Calls)
		})
	}
}

// Expire removes nothing without an age, nothing when it was ended, and only what is there.
func TestWhatIsNotExpired(t *testing.T) {
	k := opened(t, 0)
	old, older := nameOf(passBegan.Add(-2*time.Hour), k.b.key), nameOf(passBegan.Add(-3*time.Hour), k.b.key)
	all := []string{"/backup/" + older + "/f", "/backup/" + old + "/f"}
	k.Make(t, all...)
	expire := func(ctx context.Context, want int) error {
		t.Helper()
		n, err := k.b.Expire(ctx)
		require.Equal(t, want, n)
		return err
	}
	require.NoError(t, expire(t.Context(), 0))
	require.Len(t, k.Shell.Names("/backup"), 2)
	n, err := (*Dir)(nil).Expire(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)

	k.b.o.Age = time.Hour
	k.Make(t, "/backup/"+nameOf(passBegan.Add(-4*time.Hour), k.b.key)+"/")
	ended, end := context.WithCancel(t.Context())
	end()
	require.NoError(t, expire(ended, 0))
	require.Len(t, k.Shell.Names("/backup"), 3, "one that is empty is there, too")
	require.NoError(t, k.Shell.Remove("/backup/"+nameOf(passBegan.Add(-4*time.Hour), k.b.key)))

	k.Refuse("unlink f", unix.EIO, -1)
	err = expire(t.Context(), 0)
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorContains(t, err, older, "the first one")
	k.before("statx "+older, 2, func() { require.NoError(t, k.Shell.Remove("/backup/"+older)) })
	require.NoError(t, expire(t.Context(), 1), "somebody else removed it")
	require.Empty(t, k.Shell.Names("/backup"))
	k.Refuse("list backup", unix.EIO, 1)
	require.ErrorIs(t, expire(t.Context(), 0), unix.EIO)
	k.b.Close()
	require.ErrorIs(t, expire(t.Context(), 0), fs.ErrClosed)
}

// A path for which no directory has room is an error, and so is a time at which none can be made.
func TestAPathThatIsTakenEverywhere(t *testing.T) {
	k := opened(t, 0, "/copy/f")
	k.Refuse("rename f", unix.EEXIST, -1)
	_, err := k.move("f")
	require.ErrorContains(t, err, "backup directory: file already exists")
	require.NotErrorIs(t, err, fs.ErrExist, "nobody takes it for what is in the copy")
	require.Len(t, k.Shell.Names("/backup"), mostTurns)
	k.b.end()
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, "mkdir 2023-") {
			return unix.EEXIST
		}
		return nil
	}
	_, err = k.move("f")
	require.ErrorContains(t, err, "backup directory: file already exists")
	require.Empty(t, k.Shell.Names("/backup"))
	k.Fail = nil
	_, err = k.move("f")
	require.NoError(t, err)
	require.NotEmpty(t, k.kept())
}

// Only the directory that is in use makes room for another.
func TestWhoLeavesADirectory(t *testing.T) {
	k := opened(t, 0)
	first, err := k.b.turn()
	require.NoError(t, err)
	again, err := k.b.turn()
	require.NoError(t, err)
	require.Same(t, first, again)
	k.b.leave(first)
	second, err := k.b.turn()
	require.NoError(t, err)
	require.NotEqual(t, first.name, second.name)
	k.b.leave(first)
	third, err := k.b.turn()
	require.NoError(t, err)
	require.Same(t, second, third)
}

// An entry that gets no place in the backup stays where it is.
func TestAPlaceThatCannotBeMade(t *testing.T) {
	k := opened(t, 0, "/copy/a/b/f")
	turn := nameOf(passBegan, k.b.key)
	for _, c := range []struct {
		call string
		n    int
		err  error
		text string
	}{
		{"statx copy", 1, unix.EIO, "stat "}, {"mkdir " + turn, 1, unix.EIO, "mkdir "}, {"open b", 1, unix.EIO, "open "}, {"mkdir a", 1, unix.EIO, "mkdir "},
		{"mkdir b", 1, unix.EIO, "mkdir "}, {"rename f", 1, unix.EIO, "rename "}, {"open " + turn, 2, unix.ENOENT, "open "},
	} {
		dir := k.dir("a/b")
		k.RefuseNth(c.call, c.n, c.err)
		n, err := k.b.Move(dir, "f", disk.Prune{Path: "a/b/f"})
		require.ErrorContains(t, err, "backup directory: "+c.text, c.call)
		require.Equal(t, c.err == unix.EIO, errors.Is(err, unix.EIO), c.call)
		require.Zero(t, n)
		require.Equal(t, []string{"/copy/a", "/copy/a/b", "/copy/a/b/f"}, k.all("/copy"), c.call)
		require.NoError(t, k.b.Begin(passBegan))
		require.Empty(t, k.Shell.Names("/backup"), c.call)
	}
	dir := k.dir("a/b")
	k.before("mkdir b", 1, func() { k.Make(t, k.turn()+"/a/b/") })
	_, err := k.b.Move(dir, "f", disk.Prune{Path: "a/b/f"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a/b", "a/b/f"}, k.kept(), "another step made it")
	require.Len(t, k.Shell.Names("/backup"), 1)
}

// Directories of the backup have the owners and modes that they have in the copy, or else nobody but
// their owner may look.
func TestWhoMayLookIntoABackup(t *testing.T) {
	type owner struct{ uid, gid int }
	for name, c := range map[string]struct {
		user  uint32
		of    owner
		call  string
		n     int
		want  owner
		mode  uint16
		asked int // how often an owner is set
	}{
		"his own":            {someone, owner{someone, someone}, "", 0, owner{someone, someone}, 0o757, 0},
		"another's":          {someone, owner{9, 9}, "", 0, owner{someone, someone}, 0o700, 1},
		"nobody knows whose": {someone, owner{someone, someone}, "statx a", 2, owner{someone, someone}, 0o700, 0},
		"a user":             {0, owner{9, 0}, "", 0, owner{9, 0}, 0o757, 1},
		"a group":            {0, owner{0, 9}, "", 0, owner{0, 9}, 0o757, 1},
		"not allowed":        {0, owner{9, 9}, "chown a", 1, owner{0, 0}, 0o700, 1},
		"not to be seen":     {0, owner{9, 9}, "statx a", 1, owner{0, 0}, 0o700, 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := opened(t, c.user, "/copy/a/f")
			dir := k.dir("a")
			require.NoError(t, k.Shell.Fchownat(unix.AT_FDCWD, "/copy/a", c.of.uid, c.of.gid, 0))
			require.NoError(t, k.Shell.Chmod("/copy/a", 0o757)) // somebody else may remove names
			require.NoError(t, k.Shell.Chmod("/copy", 0o711))
			k.Calls = nil
			k.RefuseNth(c.call, c.n, unix.EIO)
			_, err := k.b.Move(dir, "f", disk.Prune{Path: "a/f"})
			require.NoError(t, err)
			made := k.stat(k.turn() + "/a")
			require.Equal(t, c.want, owner{int(made.Uid), int(made.Gid)})
			require.Equal(t, c.mode, made.Mode&0o7777)
			require.Equal(t, c.asked, k.times("chown a"))
			require.EqualValues(t, 0o711, k.mode(k.turn()))
		})
	}
}

// What has the path in the copy now says nothing about the directories above what was lost.
func TestAPathThatIsAnotherNow(t *testing.T) {
	k := opened(t, 0, "/copy/a", "/copy/f")
	require.NoError(t, k.Shell.Chmod("/copy/a", 0o777))
	_, err := k.b.Move(k.root, "f", disk.Prune{Path: "a/f"})
	require.NoError(t, err)
	require.EqualValues(t, 0o700, k.mode(k.turn()+"/a"))
}
