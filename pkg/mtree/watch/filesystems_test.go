//go:build filesystems

// The file systems of Linux, each made by its own mkfs on a loop device, FUSE, and a real
// rsync daemon that --exec uses. They need root and Debian's e2fsprogs, xfsprogs,
// btrfs-progs, bindfs and rsync: if one is missing, its test fails.
package watch_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

func inMemory(t testing.TB) string {
	dir := t.TempDir()
	testfs.Mount(t, dir, "mount", "-t", "tmpfs", "tidemark", dir)
	return dir
}

func subvolume(t testing.TB) string {
	dir := filepath.Join(testfs.Image(t, "mkfs.btrfs", "-q"), "sub")
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", dir)
	return dir
}

// fileSystem is one to test on. A filesystem mark is refused on a btrfs
// subvolume, whose statfs id is not that of the file system.
type fileSystem struct {
	name    string
	make    func(t testing.TB) (dir string)
	granule time.Duration
	best    string // what auto takes
}

var fileSystems = []fileSystem{
	{"ext4", func(t testing.TB) string { return testfs.Image(t, "mkfs.ext4", "-q", "-F") }, 1, "fanotify"},
	{"ext4 of whole seconds", func(t testing.TB) string { return testfs.Image(t, "mkfs.ext4", "-q", "-F", "-I", "128") }, time.Second, "fanotify"},
	{"xfs", func(t testing.TB) string { return testfs.Image(t, "mkfs.xfs", "-q") }, 1, "fanotify"},
	{"btrfs", func(t testing.TB) string { return testfs.Image(t, "mkfs.btrfs", "-q") }, 1, "fanotify"},
	{"btrfs subvolume", subvolume, 1, "inotify"},
	{"tmpfs", inMemory, 1, "fanotify"},
}

func (fs fileSystem) backends() []string {
	if fs.best == "inotify" {
		return []string{"inotify"}
	}
	return backends
}

// TestOnFileSystems runs the tests of changes, and random churn, on each file
// system with each backend that works there.
func TestOnFileSystems(t *testing.T) {
	for _, fs := range fileSystems {
		t.Run(fs.name, func(t *testing.T) {
			t.Parallel()
			dir := fs.make(t)
			t.Run("auto", func(t *testing.T) { t.Parallel(); takesTheBest(t, fs, dir) })
			t.Run("none", func(t *testing.T) { t.Parallel(); everyChangeIsFresh(t, dir, "none") })
			for _, backend := range fs.backends() {
				t.Run(backend, func(t *testing.T) { t.Parallel(); everyChangeIsFresh(t, dir, backend) })
			}
			for _, backend := range append(fs.backends(), "none") {
				for i, rounds := range [][]int{{3, 5, 10, 20, 3, 5}, {10, 20, 40}, {400}} {
					c := trial{dir, backend, churnSeed(t) + uint64(i), rounds, i%2 == 1}
					t.Run(fmt.Sprintf("%s/%d", backend, c.seed), func(t *testing.T) { t.Parallel(); c.run(t) })
				}
			}
		})
	}
}

// takesTheBest: auto takes the best backend that works here, and says why it did not take a
// better one. Asking for the better one fails with the same reason.
func takesTheBest(t *testing.T, fs fileSystem, dir string) {
	root := newTreeIn(t, dir, "a/f = one")
	r := start(t, watch.Config{Root: root, Backend: "auto"})
	require.Equal(t, fs.best, r.status().Status.Backend)
	require.Equal(t, fs.granule, r.granule())
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "a/f"), "two")
	r.sync()
	seen.fresh("write", "a")
	if fs.best == "fanotify" {
		require.NotContains(t, r.log.String(), "does not work here")
		return
	}
	require.Contains(t, r.log.String(), `msg="backend does not work here" backend=fanotify error=`)
	r.stop()
	require.ErrorContains(t, watch.Run(t.Context(), watch.Config{Root: root, Backend: "fanotify"}), "fanotify_mark")
}

// TestStateDirOnAnother: the granule of the root's file system decides about stamps, not
// that of --state-dir.
func TestStateDirOnAnother(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.ext4", "-q", "-F", "-I", "128")
	root, state := newTreeIn(t, place, "a/b/f = one"), newTree(t)
	r := start(t, watch.Config{Root: root, StateDir: state})
	r.sync()
	seen := logStamps(t, root)
	for i := range 4 {
		write(t, filepath.Join(root, "a/b/f"), fmt.Sprint(i))
		r.sync()
		seen.fresh(fmt.Sprint("write ", i), "a/b")
		seen.note()
	}
}

// TestChangeInTheSecondOfOurs: a change that nobody hears, in the second of our own stamp,
// must not leave the directory with the times that we wrote.
func TestChangeInTheSecondOfOurs(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.ext4", "-q", "-F", "-I", "128")
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			root := newTreeIn(t, place, "a/b/f = one")
			r := start(t, watch.Config{Root: root, Backend: "none"})
			r.sync()
			write(t, filepath.Join(root, "a/b/f"), "in place")
			r.sync()
			seen := logStamps(t, root)
			must(t, os.Remove(filepath.Join(root, "a/b/f")))
			r.sync()
			seen.fresh("deleted", "a/b")
		})
	}
}

// TestSubvolumeBelow: a btrfs subvolume in the tree is another file system. It
// is left alone, and what happens in it is no loss, though the mark hears it.
func TestSubvolumeBelow(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.btrfs", "-q")
	root := newTreeIn(t, place, "a/f = one")
	sub := filepath.Join(root, "a/sub")
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", sub)
	must(t, os.MkdirAll(filepath.Join(sub, "d"), 0o755))
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			r := start(t, watch.Config{Root: root, Backend: backend})
			r.sync()
			seen := logStamps(t, root)
			write(t, filepath.Join(sub, "d/f"), backend)
			before := stampOf(t, sub, "d")
			write(t, filepath.Join(root, "a/f"), backend)
			r.sync()
			seen.fresh("beside the subvolume", "a")
			require.Equal(t, before, stampOf(t, sub, "d"))
			require.Zero(t, r.config.Stats.Losses.Load(), r.log)
		})
	}
}

// TestSubvolumeArrives: a subvolume that was made, or moved, in the tree moved the time of
// its directory, and no stamp followed: that of the directories above stayed, nobody was
// woken, and a wait for the root's stamp waited until the next change.
func TestSubvolumeArrives(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.btrfs", "-q")
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			root := filepath.Join(place, backend)
			testtree.Make(t, root, "a/b/f = one")
			r := start(t, watch.Config{Root: root, Backend: backend})
			r.sync()
			seen := logStamps(t, root)
			for _, change := range [][]string{
				{"btrfs", "-q", "subvolume", "create", root + "/a/b/sub"},
				{"mv", root + "/a/b/sub", root + "/a/b/moved"},
				{"btrfs", "-q", "subvolume", "delete", root + "/a/b/moved"},
			} {
				seen.note()
				testfs.Run(t, change[0], change[1:]...)
				require.Equal(t, r.sync(), stampOf(t, root, "."))
				seen.fresh(strings.Join(change, " "), "a/b")
			}
		})
	}
}

// TestSubvolumeIsExchanged: while nobody watched, a subvolume directly in the root was deleted, and a
// snapshot of another one took its name. It shows that one's stamp and ctime, and nothing else.
func TestSubvolumeIsExchanged(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.btrfs", "-q")
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(place, backend)
			in := func(path string) string { return filepath.Join(root, path) }
			must(t, os.Mkdir(root, 0o755))
			for _, name := range []string{"cur", "next"} {
				testfs.Run(t, "btrfs", "-q", "subvolume", "create", in(name))
				testtree.Make(t, in(name), "d/f = "+name)
			}
			config := watch.Config{Root: root, Backend: backend, CrossMounts: true}
			r := start(t, config)
			r.sync()
			for _, name := range []string{"cur", "next"} {
				write(t, in(name+"/d/f"), name+" again")
			}
			r.sync()
			stamped := time.Now()
			require.Eventually(t, func() bool { return time.Since(stamped) > 12*time.Second }, time.Minute, time.Second/10, "until an audit looks back no further")
			r.sync()
			r.stop()
			seen := logStamps(t, root)
			seen.noteAs(in("next"), "cur")
			testfs.Run(t, "btrfs", "-q", "subvolume", "delete", in("cur"))
			testfs.Run(t, "btrfs", "-q", "subvolume", "snapshot", in("next"), in("cur"))
			start(t, config).sync()
			seen.fresh("exchanged", "cur/d")
		})
	}
}

// TestExchangedFiles: xfs moves no ctime where two files are exchanged. If they had one size and
// one mtime, too, nothing showed a reader that their bytes were others.
func TestExchangedFiles(t *testing.T) {
	t.Parallel()
	for _, fs := range fileSystems {
		for _, backend := range fs.backends() {
			t.Run(fs.name+"/"+backend, func(t *testing.T) {
				t.Parallel()
				root := newTreeIn(t, fs.make(t), "a/f = one @1000", "b/f = two @1000", "b/g = six @1000")
				r := start(t, watch.Config{Root: root, Backend: backend})
				was := ctimes(t, root, "a/f", "b/f", "b/g")
				require.Eventually(t, func() bool { return time.Since(was[0]) > 8*time.Second }, time.Minute, time.Second/10)
				r.sync()
				seen := logStamps(t, root)
				for _, names := range [][2]string{{"a/f", "b/f"}, {"b/f", "b/g"}} {
					seen.note()
					must(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, names[0]), unix.AT_FDCWD, filepath.Join(root, names[1]), unix.RENAME_EXCHANGE))
					r.sync()
					seen.fresh("exchange", "b")
				}
				for i, is := range ctimes(t, root, "a/f", "b/f", "b/g") {
					require.NotContains(t, was, is, i)
				}
			})
		}
	}
}

// ctimes returns the ctimes of entries.
func ctimes(t *testing.T, root string, paths ...string) (times []time.Time) {
	for _, path := range paths {
		info, err := os.Lstat(filepath.Join(root, path))
		must(t, err)
		times = append(times, time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix()))
	}
	return times
}

// TestOnFUSE: a FUSE mount sends no events for changes that its server makes by itself. auto
// takes none there, and audits find the changes.
func TestOnFUSE(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"auto", "none"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			backing, root := fuse(t)
			r := start(t, watch.Config{Root: root, Backend: backend})
			require.Equal(t, "none", r.status().Status.Backend)
			require.Equal(t, wire.Audited, r.status().State)
			if backend == "auto" {
				require.Contains(t, r.log.String(), "FUSE sends no events")
			}
			seen := logStamps(t, root)
			write(t, filepath.Join(backing, "a/b/f"), "changed in the backing directory")
			require.Eventually(t, func() bool {
				return !seen.seen["."][stampOf(t, root, ".")]
			}, deadline, 10*time.Millisecond, "no audit found it")
			seen.fresh("in the backing directory", "a/b")
			seen.note()
			write(t, filepath.Join(root, "x/g"), "changed through the mount")
			require.Equal(t, r.sync(), stampOf(t, root, "."))
			seen.fresh("through the mount", "x")
			require.Equal(t, stampOf(t, root, "."), stampOf(t, backing, "."))
		})
	}
}

// TestOnceOnFUSE: watch --once from cron.
func TestOnceOnFUSE(t *testing.T) {
	t.Parallel()
	backing, root := fuse(t)
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	seen := logStamps(t, root)
	must(t, os.Chtimes(filepath.Join(backing, "a/b/f"), day(1999), day(1999)))
	must(t, os.Remove(filepath.Join(backing, "x/g")))
	must(t, watch.Once(t.Context(), watch.Config{Root: root}))
	seen.fresh("dated back", "a/b")
	seen.fresh("deleted", "x")
	var text bytes.Buffer
	must(t, watch.PrintStatus(&text, root, ""))
	require.Equal(t, "state: audited", lines(text.String())[0])
}

// FUSE below the root was armed, and does not tell what others change behind it. The tree was
// "watched", and such a change was published by the daily audit.
func TestFUSEBelowTheRoot(t *testing.T) {
	t.Parallel()
	backing := newTreeIn(t, t.TempDir(), "b/f = one")
	root := newTreeIn(t, t.TempDir(), "a/f = one", "m/")
	testfs.Mount(t, filepath.Join(root, "m"), "bindfs", backing, filepath.Join(root, "m"))
	r := start(t, watch.Config{Root: root, Backend: "inotify", CrossMounts: true})
	require.Equal(t, wire.Degraded, r.status().State)
	require.Contains(t, r.status().Status.Error, "FUSE sends no events")
	seen := logStamps(t, root)
	write(t, filepath.Join(backing, "b/f"), "changed in the backing directory")
	for end := time.Now().Add(deadline); seen.seen["m/b"][stampOf(t, root, "m/b")]; { // FUSE may keep attributes for a second
		require.True(t, time.Now().Before(end), "no audit found it: %s", r.log)
		r.sync()
	}
	seen.fresh("in the backing directory", "m/b")
}

// A btrfs snapshot has a placeholder where a subvolume was nested. It forgets the time that
// is set. The event of the setting was taken for somebody else's change: 85 batches a second
// for ever.
func TestPlaceholderInASnapshot(t *testing.T) {
	t.Parallel()
	dir := testfs.Image(t, "mkfs.btrfs", "-q")
	root := filepath.Join(dir, "snapshot")
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(dir, "top"))
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(dir, "top/nested"))
	testfs.Run(t, "btrfs", "-q", "subvolume", "snapshot", filepath.Join(dir, "top"), root)
	write(t, filepath.Join(root, "f"), "one")
	r := start(t, watch.Config{Root: root, Backend: "inotify", CrossMounts: true})
	touched := func() {
		t.Helper()
		must(t, os.Chtimes(filepath.Join(root, "nested"), day(1999), day(1999)))
		for range 10 { // each is one batch; what goes on by itself makes many
			r.sync()
		}
		before := r.config.Stats.Stamped.Load()
		for range 10 {
			r.sync()
		}
		require.Equal(t, before, r.config.Stats.Stamped.Load(), r.log)
		require.Equal(t, wire.Watched, r.status().State)
	}
	touched()
	must(t, os.Mkdir(filepath.Join(root, "d"), 0o755))
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "e")))
	touched()
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "f"), "two")
	r.sync()
	seen.fresh("beside it", ".")
}

// fuse mounts a directory once more, by bindfs.
func fuse(t testing.TB) (backing, root string) {
	backing = newTreeIn(t, t.TempDir(), "a/b/f = one", "x/g = two", "old/")
	root = t.TempDir()
	testfs.Mount(t, root, "bindfs", backing, root)
	return backing, root
}

// TestExecRsync: --exec with an rsync daemon does the work of an inotifywait
// script with a few runs of rsync instead of one for each event.
func TestExecRsync(t *testing.T) {
	t.Parallel()
	const files = 1000
	root, copied := newTreeIn(t, inMemory(t), "a/f = one", "gone = x"), newTree(t)
	url := rsyncDaemon(t, copied)
	r := start(t, watch.Config{Root: root, Exec: "rsync -a --delete --exclude=/.tidemark " + root + "/ " + url})
	arrived := func() bool {
		return exec.Command("diff", "-rq", "--exclude=.tidemark", root, copied).Run() == nil
	}
	require.Eventually(t, arrived, deadline, 10*time.Millisecond, "after the audit")
	before, events := r.config.Stats.HookRuns.Load(), r.config.Stats.Events.Load()
	for i := range files {
		dir := filepath.Join(root, "new", fmt.Sprint(i%10))
		must(t, os.MkdirAll(dir, 0o755))
		write(t, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint(i))
	}
	must(t, os.Remove(filepath.Join(root, "gone")))
	require.Eventually(t, arrived, deadline, 10*time.Millisecond, "%d files", files)
	runs, heard := r.config.Stats.HookRuns.Load()-before, r.config.Stats.Events.Load()-events
	t.Logf("%d files, %d events, %d runs of rsync", files, heard, runs)
	require.GreaterOrEqual(t, heard, int64(files))
	require.LessOrEqual(t, runs, int64(files/20))
	require.Zero(t, r.config.Stats.HookErrors.Load())
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// rsyncDaemon serves dir for writing, as the module "copy", and returns its URL.
func rsyncDaemon(t testing.TB, dir string) (url string) {
	t.Helper()
	base := t.TempDir()
	config, log := filepath.Join(base, "rsyncd.conf"), filepath.Join(base, "log")
	write(t, config, strings.Join([]string{
		"use chroot = no", "uid = root", "gid = root", "log file = " + log,
		"[copy]", "path = " + dir, "read only = no", "",
	}, "\n"))
	port := freePort(t)
	cmd := exec.Command("rsync", "--daemon", "--no-detach", "--config="+config, "--address=127.0.0.1", fmt.Sprintf("--port=%d", port))
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	url = fmt.Sprintf("rsync://127.0.0.1:%d/copy/", port)
	require.Eventually(t, func() bool { return exec.Command("rsync", "-q", url).Run() == nil }, deadline, 10*time.Millisecond, "rsync --daemon")
	return url
}

// A snapshot of a subvolume has the inode number and the birth time of the subvolume's root.
// It counted as the same directory, so two sources ran under one id.
func TestSnapshotIsNotTheTree(t *testing.T) {
	place := testfs.Image(t, "mkfs.btrfs", "-q")
	root, snapshot := filepath.Join(place, "tree"), filepath.Join(place, "snapshot")
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", root)
	write(t, filepath.Join(root, "f"), "one")
	start(t, watch.Config{Root: root}).stop()
	testfs.Run(t, "btrfs", "-q", "subvolume", "snapshot", root, snapshot)
	refused(t, watch.Config{Root: snapshot}, "--same-tree")
	must(t, os.RemoveAll(filepath.Join(snapshot, ".tidemark")))
	refused(t, watch.Config{Root: snapshot}, "--same-tree")
	r := start(t, watch.Config{Root: snapshot, NewTree: true})
	require.NotEqual(t, readTreeFile(t, root).ID, r.status().Tree.ID)
	r.stop()
	start(t, watch.Config{Root: root}).stop()
}

// A tree is the same tree after a reboot, which gives its file system another device.
func TestMountedAgain(t *testing.T) {
	for _, mkfs := range [][]string{{"mkfs.ext4", "-q", "-F"}, {"mkfs.xfs", "-q"}, {"mkfs.btrfs", "-q"}} {
		t.Run(mkfs[0], func(t *testing.T) {
			image, root := testfs.Make(t, mkfs...)
			testfs.Run(t, "mount", "-o", "loop", image, root)
			write(t, filepath.Join(root, "f"), "one")
			start(t, watch.Config{Root: root}).stop()
			was := readTreeFile(t, root)
			require.NotEmpty(t, was.FS)
			testfs.Run(t, "umount", root)
			other, elsewhere := testfs.Make(t, "mkfs.ext4", "-q", "-F")
			testfs.Mount(t, elsewhere, "mount", "-o", "loop", other, elsewhere) // takes the loop device
			testfs.Mount(t, root, "mount", "-o", "loop", image, root)
			start(t, watch.Config{Root: root}).stop()
			now := readTreeFile(t, root)
			require.Equal(t, was.ID, now.ID)
			require.Equal(t, was.FS, now.FS)
			require.Equal(t, was.Epoch, now.Epoch)
		})
	}
}
