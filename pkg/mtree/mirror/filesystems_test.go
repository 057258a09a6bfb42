//go:build filesystems

// Copies on file systems that keep less than ours: whole seconds, no times before 1980, and
// names that differ in case taken for one, everywhere or in one directory. They need root and
// Debian's e2fsprogs, exfat-fuse and exfatprogs.
package mirror

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// sameBut requires the copy to equal the source, except for what lose removes from the lines
// of testtree.Snapshot.
func (b *bench) sameBut(s *tree, lose *regexp.Regexp) {
	b.t.Helper()
	kept := func(root string) map[string]string {
		tree, err := testtree.Snapshot(root)
		require.NoError(b.t, err)
		delete(tree, "lost+found")
		for name, text := range tree {
			tree[name] = lose.ReplaceAllString(text, "")
		}
		return tree
	}
	require.Equal(b.t, kept(s.root), kept(b.config.Dest))
}

// A copy that stores whole seconds is nevertheless complete, misses no change within one
// second, and can be the source of further copies.
func TestACopyOfWholeSeconds(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "a/g = x @1000000000.123456789", "c/h = y", "l -> c/h")
	b.config.Dest = testfs.Image(t, "mkfs.ext4", "-q", "-F", "-I", "128")
	fraction := regexp.MustCompile(`\.\d{9}`)
	require.NoError(t, b.once())
	b.sameBut(s, fraction)
	b.requireIdle()
	next := newBench(t, "")
	next.server = serveTree(t, b.config.Dest)
	next.config.Source = next.server.URL
	require.NoError(t, next.once())
	next.sameBut(s, fraction)
	next.requireIdle()
	for _, text := range []string{"two", "3", "four", "5", "six", "7"} { // some of them within one second
		s.change("a/b/f = "+text, "new/"+text+" = z")
		s.remove("c/h")
		require.NoError(t, b.once())
		require.Contains(t, b.out.String(), "fetched 2 files")
		b.sameBut(s, fraction)
		b.requireIdle()
		require.NoError(t, next.once())
		next.sameBut(s, fraction)
		next.requireIdle()
	}
	status := b.status()
	require.Equal(t, stampOf(t, s.root), *status.Root, "the stamp is known to the nanosecond")
}

// folding makes a file system on which names that differ only in case are one name. It keeps no
// modes, no symlinks, no extended attributes and no odd seconds.
func folding(t *testing.T) string {
	file, dir := testfs.Make(t, "mkfs.exfat")
	device, err := exec.Command("losetup", "--find", "--show", file).Output()
	require.NoError(t, err)
	at := strings.TrimSpace(string(device))
	t.Cleanup(func() { testfs.Run(t, "losetup", "-d", at) })
	testfs.Mount(t, dir, "mount.exfat-fuse", at, dir)
	return filepath.Join(dir, "copy")
}

// keptByFolding removes modes and times from a snapshot.
var keptByFolding = regexp.MustCompile(`^\S+ \S+ ?`)

// On a file system without symlinks, each of them failed in every pass (exit 6), and no directory
// above it was ever complete. Now they are left out, and counted.
func TestACopyThatFoldsCaseHoldsNoSymlinks(t *testing.T) {
	_, b := overHTTP(t, "a/f = one", "a/l -> f", "l -> a/f")
	b.config.Dest = folding(t)
	log := &heard{}
	b.config.Log = slog.New(slog.NewTextHandler(log, nil))
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 2, failed 0")
	require.Equal(t, 1, strings.Count(log.String(), "holds no symlinks"))
	require.Contains(t, log.String(), "--no-links")
	b.requireIdle()
	require.Contains(t, b.printStatus(), "not copied: 2\n")
	var out bytes.Buffer
	b.config.Out = &out
	_ = Verify(t.Context(), b.config, false) // modes differ, because exFAT has none
	require.NotContains(t, out.String(), "missing")
}

// Names that collide in the copy are reported. The entry that is there stays, and nothing is
// fetched for the other one again and again. Without such names nothing is different.
func TestACopyThatFoldsCase(t *testing.T) {
	s, b := overHTTP(t, "a/Read = one", "a/other = x", "Dir/f = two", "plain/g = y")
	b.config.Dest = folding(t)
	require.NoError(t, b.once())
	b.sameBut(s, keptByFolding)
	b.requireIdle()
	s.change("a/read = second", "dir/evil = z", "plain/g = changed")
	s.remove("a/other")
	err := b.once()
	require.Equal(t, exit.Local, exit.Of(err), "%v", err)
	require.ErrorContains(t, err, `"a/read": the file system takes it for another name`)
	require.ErrorContains(t, err, `"dir": the file system takes it for another name`)
	require.Equal(t, "one", b.read("a/Read"))
	require.Equal(t, "two", b.read("Dir/f"))
	require.NoFileExists(t, b.path("a/other"), "what the copy cannot hold stops no replica.Deletion")
	require.Equal(t, "changed", b.read("plain/g"))
	require.NoFileExists(t, b.path("dir/evil"))
	require.Error(t, b.once())
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")

	s.remove("a/read")
	s.remove("dir")
	require.NoError(t, b.once())
	b.sameBut(s, keptByFolding)
	b.requireIdle()
}

// Both in the first copy: one of the two arrives.
func TestAFirstCopyThatFoldsCase(t *testing.T) {
	s, b := overHTTP(t, "a/Read = one", "a/read = two", "Dir/f = three", "dir/f = four", "plain/g = y")
	b.config.Dest = folding(t)
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Equal(t, "three", b.read("Dir/f"))
	require.Equal(t, "y", b.read("plain/g"))
	before := b.read("a/Read")
	require.Error(t, b.once())
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")
	require.Equal(t, before, b.read("a/Read"))
	_ = s
}

// An entry whose name the source spells differently now gets that spelling in the copy.
func TestRespelledAtTheSource(t *testing.T) {
	s, b := overHTTP(t, "a/Read = one", "Dir/sub/f = two", "plain/g = y")
	b.config.Dest = folding(t)
	require.NoError(t, b.once())
	require.NoError(t, os.Rename(s.path("a/Read"), s.path("a/read")))
	require.NoError(t, os.Rename(s.path("Dir"), s.path("DIR")))
	s.publish("a/read")
	s.publish("DIR/sub")
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "fetched 0 files (0 bytes), deleted 0,")
	b.sameBut(s, keptByFolding)
	b.requireIdle()
}

// The same where mirror does not know that two spellings are one name, as on ZFS with
// normalization: nothing takes the place of another spelling.
func TestACopyThatFoldsUnnoticed(t *testing.T) {
	s, b := overHTTP(t, "a/README = one", "a/other = x", "Dir/f = two")
	b.config.Dest = folding(t)
	once := func() *pass.Result {
		t.Helper()
		m, err := open(b.config)
		require.NoError(t, err)
		defer m.close()
		m.replica.Staging.Folds = false
		p, err := m.once(t.Context())
		require.NoError(t, err)
		return p
	}
	collides := func(paths int64) {
		t.Helper()
		p := once()
		require.False(t, p.Complete)
		require.Equal(t, paths, p.Failed)
		require.ErrorIs(t, p.Errs[0], disk.ErrCollides)
	}
	completes := func() { // FUSE remembers a name for a second
		t.Helper()
		require.True(t, assertEventually(func() bool { return once().Complete }))
		b.sameBut(s, keptByFolding)
	}
	require.True(t, once().Complete)
	require.NoError(t, os.Rename(s.path("a/README"), s.path("a/readme")))
	require.NoError(t, os.Rename(s.path("Dir"), s.path("DIR")))
	s.publish("a/readme")
	s.publish("DIR")
	collides(2)
	left, err := os.ReadDir(b.path("a"))
	require.NoError(t, err)
	require.Len(t, left, 1, "what the copy cannot hold stops no deletion")
	completes()

	s.change("a/README = second")
	collides(1)
	collides(1)
	require.Equal(t, "one", b.read("a/readme"))
	s.remove("a/README")
	completes()
}

// foldingDirectory makes a directory with an empty one in it, d, which takes names that differ in
// case for one, on a file system that does not. It returns "" where the kernel is built without
// CONFIG_UNICODE: no directory does so there, and package pass shows the same in memory.
func foldingDirectory(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/sys/fs/ext4/features/casefold"); err != nil {
		t.Log("no directory of ext4 folds with this kernel: it lacks CONFIG_UNICODE")
		return ""
	}
	at := filepath.Join(testfs.Image(t, "mkfs.ext4", "-q", "-F", "-O", "casefold"), "copy")
	require.NoError(t, os.MkdirAll(filepath.Join(at, "d"), 0o755))
	testfs.Run(t, "chattr", "+F", filepath.Join(at, "d"))
	return at
}

// A file that was renamed to another spelling was deleted, in a directory that folds on a file system
// that does not, and of two such files the copy had one and said that it had both.
func TestACopyWithADirectoryThatFolds(t *testing.T) {
	s, b := overHTTP(t, "d/README = one", "d/other = x")
	if b.config.Dest = foldingDirectory(t); b.config.Dest == "" {
		return
	}
	b.config.Adopt = true
	b.equal(s)
	b.config.Adopt = false
	require.FileExists(t, b.path("d/readme"), "it folds")
	collides := func() {
		t.Helper()
		err := b.once()
		require.Equal(t, exit.Local, exit.Of(err), "%v", err)
		require.ErrorContains(t, err, "the file system takes it for another name")
	}
	require.NoError(t, os.Rename(s.path("d/README"), s.path("d/readme")))
	s.publish("d/readme")
	collides()
	require.NoFileExists(t, b.path("d/readme"))
	b.equal(s)
	b.requireIdle()

	s.change("d/README = second")
	collides()
	collides()
	require.Equal(t, "one", b.read("d/readme"))
	s.remove("d/README")
	b.equal(s)
	b.requireIdle()
}

// follow runs a watcher of the tree until the test ends. Its journal lets serve give parts.
func (s *tree) follow() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watch.Run(ctx, watch.Config{Root: s.root, Backend: "inotify"}) }()
	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-ended)
	})
	source := &bench{t: s.t, config: Config{Dest: s.root}}
	require.True(s.t, assertEventually(func() bool {
		_, err := os.Stat(s.path(".tidemark/tree"))
		return err == nil && source.published().State == wire.Watched
	}))
}

// The same by a mirror that keeps running and gets parts. A name that came and went took another
// spelling of it along.
func TestADirectoryThatFoldsByParts(t *testing.T) {
	dest := foldingDirectory(t)
	if dest == "" {
		return
	}
	s := newTree(t, "d/README = one", "d/other = x")
	s.follow()
	b := s.benchOverHTTP()
	b.config.Dest, b.config.Adopt = dest, true
	b.start()
	b.eventually(s)
	write := func(name, text string) { require.NoError(t, os.WriteFile(s.path(name), []byte(text), 0o644)) }
	for _, text := range []string{"22", "333"} {
		write("d/other", text)
		b.eventually(s)
	}
	require.True(t, assertEventually(func() bool { return b.server.stats.Parts.Load() > 0 }))
	require.NoError(t, os.Rename(s.path("d/README"), s.path("d/readme")))
	b.eventually(s)
	write("d/OTHER", "came")
	require.NoError(t, os.Remove(s.path("d/OTHER")))
	write("d/new", "y")
	b.eventually(s)
	require.Equal(t, "333", b.read("d/other"))

	write("d/README", "second")
	require.True(t, assertEventually(func() bool { return strings.Contains(b.printStatus(), "failed: 1\n") }))
	require.Equal(t, "one", b.read("d/readme"))
	require.NoError(t, os.Remove(s.path("d/README")))
	b.eventually(s)
	require.Equal(t, "one", b.read("d/readme"))
}

// exFAT keeps no times before 1980. A damaged file of 1970 got the time that it should have from
// --verify --repair, and was not fetched.
func TestVerifyOfTimesThatAreNotKept(t *testing.T) {
	_, b := settled(t, "a/f = one @1", "a/g = two")
	b.config.Dest = folding(t)
	require.NoError(t, b.once())
	damaged := &tree{t: t, root: b.config.Dest}
	damaged.forge("a/f", "0ne")
	_ = Verify(t.Context(), b.config, true) // modes differ, because exFAT has none
	require.Equal(t, "one", b.read("a/f"))
}

// Nothing is written to the marker under another spelling of its name.
func TestTheMarkerRespelled(t *testing.T) {
	b := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("1.5 ./\t-\n1.5 tree\t0\tctime=1.5\n#end 1\n"))
	}, ".TIDEMARK/\t-")
	b.config.Dest = folding(t)
	require.Equal(t, exit.Local, exit.Of(b.once()))
	require.Equal(t, "00112233445566778899aabbccddeeff", b.published().Tree.ID)
}

// ntfs-3g stores steps of 100 ns. What it made of a time out of its range was taken for the last
// time that it keeps: every file was fetched again in every pass.
func TestNTFSKeepsMoreThanWholeSeconds(t *testing.T) {
	s, b := overHTTP(t, "a/b/f = one", "a/g = x @1000000000.123456789", "old/h = y @-3000000000.5", "new/i = z @9000000000", "c/j = y")
	file, dir := testfs.Make(t, "mkntfs", "-F", "-Q", "-q")
	testfs.Mount(t, dir, "ntfs-3g", "-o", "permissions", file, dir)
	b.config.Dest = filepath.Join(dir, "copy")
	hundreds := regexp.MustCompile(`(\.\d{7})\d\d`)
	next := newBench(t, "")
	fine := func() {
		t.Helper()
		require.NoError(t, b.once())
		b.sameBut(s, hundreds)
		b.requireIdle()
		require.NoError(t, WaitFor(t.Context(), b.config, stampOf(t, s.root)))
		if next.server == nil {
			next.server = serveTree(t, b.config.Dest)
			next.config.Source = next.server.URL
		}
		require.NoError(t, next.once())
		next.sameBut(s, hundreds)
		next.requireIdle()
	}
	fine()
	s.change("c/j = changed", "a/b/new = x")
	fine()
	s.publish("a/g")
	s.publish("old/h")
	s.publish("new/i")
	fine()
	require.NotContains(t, b.out.String(), "fetched 1")
}

// With --cross-mounts, mirror read a subvolume of btrfs in a local source, although watch does not
// hear it: nothing is mounted there, but it is another file system all the same.
func TestNoSubvolumeIsReadThatWatchDoesNotHear(t *testing.T) {
	s := &tree{t: t, root: filepath.Join(testfs.Image(t, "mkfs.btrfs", "-q"), "source")}
	require.NoError(t, os.Mkdir(s.root, 0o755))
	testtree.Make(t, s.root, "a/f = one")
	testfs.Run(t, "btrfs", "-q", "subvolume", "create", s.path("a/sub"))
	testtree.Make(t, s.path("a/sub"), "d/in = x")
	s.watch()
	hears := func(far bool) {
		require.NoError(t, s.status.Write(state.Status{State: wire.Watched, CrossMounts: &far}))
	}
	b := newBench(t, s.root)
	b.config.CrossMounts = true
	hears(false)
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "skipped 1, failed 0")
	require.NoFileExists(t, b.path("a/sub/d/in"))
	require.Equal(t, "one", b.read("a/f"))
	hears(true)
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("a/sub/d/in"))
	hears(false)
	testtree.Make(t, s.path("a/sub"), "d/in = changed")
	s.change("a/f = two")
	require.NoError(t, b.once())
	require.Equal(t, "x", b.read("a/sub/d/in"), "nobody vouches for it, and nobody deletes it")
	require.Equal(t, "two", b.read("a/f"))
}
