package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
)

// backups returns what is in the directories of all passes: path -> its versions.
func (b *bench) backups() map[string][]string {
	b.t.Helper()
	dir := filepath.Join(b.config.Dest, b.config.BackupDir)
	passes, err := os.ReadDir(dir)
	require.NoError(b.t, err)
	all := map[string][]string{}
	for _, pass := range passes {
		one, err := testtree.Snapshot(filepath.Join(dir, pass.Name()))
		require.NoError(b.t, err)
		for path, is := range one {
			all[path] = append(all[path], is)
		}
	}
	return all
}

func (b *bench) snapshot() map[string]string {
	b.t.Helper()
	all, err := testtree.Snapshot(b.config.Dest)
	require.NoError(b.t, err)
	return all
}

// keeps requires that what the copy had, and has no more, is in the backup with all that it was: type, mode,
// time and bytes. A directory that is still one only has another time.
func (b *bench) keeps(before map[string]string) {
	b.t.Helper()
	now, kept := b.snapshot(), b.backups()
	for path, was := range before {
		is := now[path]
		if is == was || strings.HasPrefix(is, "d") && strings.HasPrefix(was, "d") {
			continue
		}
		require.Contains(b.t, kept[path], was, path)
	}
}

// kept requires exactly these paths in the backup, without those above them.
func (b *bench) kept(paths ...string) {
	b.t.Helper()
	var all []string
	for path, versions := range b.backups() {
		if path != "." && !strings.HasPrefix(versions[0], "d") {
			all = append(all, path)
		}
	}
	require.ElementsMatch(b.t, paths, all)
}

// backedUp returns a source and a copy of it with a backup directory.
func backedUp(t *testing.T, dir string, lines ...string) (*tree, *bench) {
	s, b := overHTTP(t, lines...)
	b.config.BackupDir = dir
	b.equal(s)
	b.requireIdle()
	return s, b
}

// Whatever a pass deletes or overwrites is in the backup, with its bytes, mode and time.
func TestBackup(t *testing.T) {
	for _, dir := range []string{"../backup", ".tidemark/backup"} {
		for _, durability := range []string{Batch, Each, None} {
			for _, kind := range []string{"HTTP", "local"} {
				t.Run(dir+" "+durability+" "+kind, func(t *testing.T) {
					s, b := overHTTP(t, append(many("staged", 20), "f = old @1000000000.25 mode=0604", "same = x", "d/f = x", "d/deep/er/g = y mode=0400", "l -> f",
						"goes/l -> ../f", "goes/with/all = z", "file = becomes a directory", "dir/f = becomes a file", "dir2/sub/f = becomes a link", "l2 -> d", "mode = x", "moved/large = "+strings.Repeat("z", 70_000))...)
					b.config.BackupDir, b.config.Durability = dir, durability
					if kind == "local" {
						b.config.Source, b.server = s.root, nil
					}
					b.equal(s)
					before := b.snapshot()
					s.remove("goes")
					s.remove("file")
					s.remove("dir")
					s.remove("dir2")
					s.remove("l2")
					s.remove("l")
					require.NoError(t, os.Rename(s.path("moved"), s.path("renamed")))
					require.NoError(t, os.Chmod(s.path("mode"), 0o600))
					s.change("f = new", "d/deep/er/g = changed", "file/f = x", "dir = a file", "dir2 -> d", "l2 = a file", "l -> same", "renamed/small = x", "staged/007 = other", "new/f = x")
					b.config.MaxDelete = "100%"
					b.equal(s)
					b.requireIdle()
					delete(before, "mode") // another mode is no other file
					b.keeps(before)
					b.kept("f", "l", "goes/l", "goes/with/all", "file", "dir/f", "dir2/sub/f", "l2", "d/deep/er/g", "moved/large", "staged/007")
					require.EqualValues(t, 17, b.stats.Kept.Load(), "with six directories")
					left, err := os.ReadDir(b.path(".tidemark/tmp"))
					require.NoError(t, err)
					require.Empty(t, left)
				})
			}
		}
	}
}

// A new directory that is filled aside has nothing to keep.
func TestBackupOfStagedDirectories(t *testing.T) {
	s, b := overHTTP(t, many("a/b", 40)...)
	b.config.BackupDir = "../backup"
	b.equal(s)
	b.kept()
	s.change(many("c/d", 40)...)
	b.equal(s)
	b.kept()
}

// What is held stays; what is released goes into the backup, with a mirror and without one, and also if the
// release does not say where that is. So does what --verify --repair replaces.
func TestBackupIsRecalled(t *testing.T) {
	s, b := backedUp(t, "../backup", "a/f = x", "a/g = y", "b/f = z", "stays = 1")
	before := b.snapshot()
	b.config.MaxDelete = "1"
	s.remove("a")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	b.kept()
	require.Contains(t, b.printStatus(), fmt.Sprintf("\nbackup: %q\n", b.path("../backup")))
	require.NoError(t, b.release())
	b.kept("a/f", "a/g")
	b.keeps(before)

	require.NoError(t, os.WriteFile(b.path("stays"), []byte("2"), 0o644))
	require.NoError(t, os.Chtimes(b.path("stays"), time.Time{}, mtimeOf(t, s.path("stays"))))
	require.NoError(t, os.WriteFile(b.path("more"), []byte("local"), 0o644))
	require.NoError(t, Verify(t.Context(), Config{Dest: b.config.Dest, Log: b.config.Log, Out: &b.out}, true))
	b.same(s)
	b.kept("a/f", "a/g", "stays", "more")

	before = b.snapshot()
	s.remove("b")
	s.change("c = 1")
	b.config.MaxDelete = "1"
	require.Equal(t, exit.Held, exit.Of(b.once()))
	m := b.start()
	require.NoError(t, b.release())
	require.NoError(t, m.stop())
	b.keeps(before)
	b.kept("a/f", "a/g", "stays", "more", "b/f")

	// Without the option nothing is kept any more, by a release neither.
	b.config.BackupDir = ""
	b.equal(s)
	require.NoFileExists(t, b.path(".tidemark/backup-dir"))
	require.NotContains(t, b.printStatus(), "backup")
}

func mtimeOf(t *testing.T, path string) time.Time {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.ModTime()
}

// The option is given, left out and given again; what filters exclude stays; --no-delete overwrites.
func TestBackupOnAndOff(t *testing.T) {
	s, b := backedUp(t, ".tidemark/backup", "a/f = 1", "a/keep = x", "b/f = 1", "c = 1")
	s.change("a/f = 2")
	b.config.BackupDir = ""
	b.equal(s)
	b.config.BackupDir = ".tidemark/backup"
	b.kept()
	before := b.snapshot()
	b.config.Filters = []string{"- keep"}
	s.change("c = 2")
	s.remove("a")
	b.config.MaxDelete = "100%"
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("a/keep"))
	b.keeps(before)
	b.kept("a/f", "c")
	b.config.Filters, b.config.NoDelete = nil, true
	s.change("c = 3")
	s.remove("b")
	require.NoError(t, b.once())
	b.kept("a/f", "c")
	require.Len(t, b.backups()["c"], 2)
	require.Equal(t, "1", b.read("b/f"))
}

// A copy within the copy is held; released, it goes into the backup as it is.
func TestBackupOfACopyInACopy(t *testing.T) {
	s, b := backedUp(t, "../backup", "a/f = x", "g = y")
	testtree.Make(t, b.config.Dest, "a/own/.tidemark/tree = theirs", "a/own/f = theirs")
	before := b.snapshot()
	s.remove("a")
	require.Equal(t, exit.Held, exit.Of(b.once()))
	require.FileExists(t, b.path("a/own/f"))
	require.NoError(t, b.release())
	b.keeps(before)
	passes, err := filepath.Glob(b.path("../backup/*/a/own/.tidemark/tree"))
	require.NoError(t, err)
	require.Len(t, passes, 1)
}

// What cannot be kept is not deleted and not overwritten, and the next pass does it.
func TestBackupDirectoryThatIsLost(t *testing.T) {
	s, b := backedUp(t, "../backup", "a/f = 1", "b/f = 1", "c = 1")
	before := b.snapshot()
	s.change("c = 2")
	s.remove("a")
	away := func() { require.NoError(t, os.RemoveAll(b.path("../backup"))) }
	testBeforeDelete := func() { away(); require.NoError(t, os.WriteFile(b.path("../backup"), nil, 0o644)) }
	b.config.beforeDelete = testBeforeDelete
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Equal(t, "1", b.read("a/f"))
	require.Equal(t, exit.Local, exit.Of(b.once()), "a file has its name")
	require.Equal(t, "1", b.read("a/f"))
	b.config.beforeDelete = nil
	require.NoError(t, os.Remove(b.path("../backup")))
	delete(before, "c") // it was in the backup that somebody removed
	b.equal(s)
	b.keeps(before)
}

// Two mirrors with one directory keep apart, and remove only what is their own.
func TestTwoMirrorsWithOneBackup(t *testing.T) {
	s, b := backedUp(t, "../backup", "f = 1", "g = x")
	other := newBench(t, b.config.Source)
	other.config.BackupDir = b.path("../backup")
	other.config.Dest = b.path("../copy2")
	other.equal(s)
	s.change("f = 2")
	b.equal(s)
	other.equal(s)
	passes, err := os.ReadDir(b.path("../backup"))
	require.NoError(t, err)
	require.Len(t, passes, 2)
	other.config.BackupKeep = time.Nanosecond
	require.NoError(t, other.once())
	left, err := os.ReadDir(b.path("../backup"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, []string{"1"}, func() (texts []string) {
		text, err := os.ReadFile(b.path("../backup/" + left[0].Name() + "/f"))
		require.NoError(t, err)
		return append(texts, string(text))
	}())
	b.config.BackupKeep = time.Nanosecond
	require.NoError(t, b.once())
	b.kept()
}

// A mirror that keeps running removes what is too old beside its passes.
func TestBackupIsRemovedInTime(t *testing.T) {
	s, b := backedUp(t, "../backup", "f = 1")
	s.change("f = 2")
	b.equal(s)
	b.kept("f")
	b.config.BackupKeep = time.Nanosecond
	m := b.start()
	require.True(t, assertEventually(func() bool { return len(b.backups()) == 0 }))
	require.NoError(t, m.stop())
}

// A dry run makes nothing, and refuses what a pass would refuse.
func TestBackupInADryRun(t *testing.T) {
	s, b := overHTTP(t, "f = 1")
	b.equal(s)
	s.change("f = 2")
	b.config.DryRun, b.config.BackupDir = true, "../backup"
	require.NoError(t, b.once())
	require.NoDirExists(t, b.path("../backup"))
	require.Equal(t, "1", b.read("f"))
	b.config.BackupDir = "sub"
	require.Equal(t, exit.Usage, exit.Of(b.once()))
	b.config.DryRun = false
	require.Equal(t, exit.Usage, exit.Of(b.once()))
	require.Equal(t, "1", b.read("f"))
	b.config.BackupDir, b.config.BackupKeep = "", time.Hour
	require.Equal(t, exit.Usage, exit.Of(b.once()))
}

// The directories of the backup are flushed before those of the copy are. If that fails, nothing is stamped.
func TestBackupIsFlushedFirst(t *testing.T) {
	s, b := overHTTP(t, "f = 1", "g = 1")
	b.config.BackupDir = "../backup"
	b.equal(s)
	s.change("f = 2")
	b.config.beforeDelete = func() {
		// The directory of the pass is no longer a directory that fsync takes.
		passes, err := filepath.Glob(b.path("../backup/*"))
		require.NoError(t, err)
		require.Len(t, passes, 1)
		closeThose(t, passes[0])
	}
	require.Error(t, b.once())
	record, ok := b.record("")
	require.True(t, ok)
	require.True(t, isUnfinished(record))
}

// closeThose closes each descriptor of this process that leads to a directory.
func closeThose(t *testing.T, dir string) {
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == dir {
			n := 0
			_, err := fmt.Sscan(fd.Name(), &n)
			require.NoError(t, err)
			null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, syscall.Dup3(null, n, syscall.O_CLOEXEC))
			require.NoError(t, syscall.Close(null))
		}
	}
}

// A mirror that is killed at any moment loses no version of a file that the copy had: each is in the copy or in
// the backup, whole.
func TestKilledWithABackup(t *testing.T) {
	const files = 200
	text := func(i, version int) string { return strings.Repeat(string(rune('0'+version)), 1+i*37%900) }
	name := func(i int) string { return fmt.Sprintf("d%d/f%d", i%5, i) }
	var lines []string
	for i := range files {
		lines = append(lines, name(i)+" = "+text(i, 0))
	}
	s, b := overHTTP(t, lines...)
	b.config.BackupDir, b.config.MaxDelete = "../backup", "100%"
	b.equal(s)
	had := map[string]map[string]bool{}
	look := func() {
		for path, is := range b.snapshot() {
			if had[path] == nil {
				had[path] = map[string]bool{}
			}
			if strings.HasPrefix(is, "-") {
				had[path][is] = true
			}
		}
		now, kept := b.snapshot(), b.backups()
		for path, versions := range had {
			for version := range versions {
				if now[path] != version {
					require.Contains(t, kept[path], version, path)
				}
			}
		}
	}
	look()
	for round := 1; round < 7; round++ {
		for i := range files {
			switch {
			case i%3 == round%3:
				testtree.Make(t, s.root, name(i)+" = "+text(i, round))
			case i%7 == round:
				require.NoError(t, os.RemoveAll(s.path(name(i))))
			}
		}
		require.NoError(t, os.RemoveAll(s.path(fmt.Sprintf("d%d", round%5))))
		for i := range 5 {
			if i != round%5 {
				s.publish(fmt.Sprintf("d%d", i))
			}
		}
		cmd := helper(b, "MIRROR_TEST_BACKUP=../backup")
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(5+round*6)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		look()
	}
	b.equal(s)
	look()
	b.requireIdle()
}

// A backup directory in the second of several local sources was taken: that would publish it, and the copy would have it.
func TestABackupInAnotherSource(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	other := newTree(t, "a = x")
	b.config.Others = []Other{{Source: other.root}}
	b.config.BackupDir = other.path("backup")
	require.Equal(t, exit.Usage, exit.Of(b.once()))
	require.NoDirExists(t, b.config.BackupDir)
	b.config.BackupDir = "../backup"
	b.equal(s)
}
