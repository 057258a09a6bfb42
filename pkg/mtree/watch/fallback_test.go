//go:build filesystems

package watch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// What watch does where it cannot do everything: other file systems, missing rights, mounts
// that come, go and change. Needs root, as all tests of this tag.

// overlay mounts one over a lower layer of these files.
func overlay(t testing.TB, lines ...string) (dir string) {
	base := inMemory(t)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		must(t, os.Mkdir(filepath.Join(base, name), 0o755))
	}
	lower := newTreeIn(t, filepath.Join(base, "lower"), lines...)
	dir = filepath.Join(base, "merged")
	testfs.Mount(t, dir, "mount", "-t", "overlay", "tidemark", "-o",
		"lowerdir="+lower+",upperdir="+base+"/upper,workdir="+base+"/work", dir)
	return dir
}

// TestOnOverlay: file handles of overlayfs cannot be opened, so auto takes inotify and says
// why. A file or directory that is copied up from the lower layer, by others or by our own
// stamps, is heard before and after.
func TestOnOverlay(t *testing.T) {
	t.Parallel()
	root := overlay(t, "a/b/f = lower", "c/d/g = lower", "c/d/sub/h = lower")
	r := start(t, watch.Config{Root: root})
	require.Equal(t, "inotify", r.status().Status.Backend)
	require.Contains(t, r.log.String(), `msg="backend does not work here" backend=fanotify error=`)
	seen := logStamps(t, root)
	for _, c := range []struct {
		what, dir string
		do        func() error
	}{
		{"copied up", "a/b", func() error { return os.WriteFile(root+"/a/b/f", []byte("upper"), 0o644) }},
		{"once more", "a/b", func() error { return os.WriteFile(root+"/a/b/f", []byte("upper again"), 0o644) }},
		{"whited out", "c/d", func() error { return os.Remove(root + "/c/d/g") }},
		{"chmod of a lower file", "c/d/sub", func() error { return os.Chmod(root+"/c/d/sub/h", 0o600) }},
		{"a lower directory replaced", "c/d/sub", func() error {
			must(t, os.RemoveAll(root+"/c/d/sub"))
			return os.Mkdir(root+"/c/d/sub", 0o755)
		}},
		{"in the new one", "c/d/sub", func() error { return os.WriteFile(root+"/c/d/sub/h", nil, 0o644) }},
	} {
		must(t, c.do())
		r.sync()
		seen.fresh(c.what, c.dir)
		seen.note()
	}
	require.Zero(t, r.config.Stats.Losses.Load(), r.log)
	t.Run("all changes", func(t *testing.T) { everyChangeIsFresh(t, overlay(t), "inotify") })
	t.Run("churn", func(t *testing.T) { trial{overlay(t), "inotify", churnSeed(t), []int{5, 20, 50}, false}.run(t) })
}

// logs waits until the log of another process holds text: it comes by a pipe.
func (r *running) logs(text string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return strings.Contains(r.log.String(), text) }, deadline, time.Millisecond, text)
}

// TestWithoutCapabilities: fanotify needs two. Without either of them watch takes inotify,
// with the reason in the log, and publishes everything.
func TestWithoutCapabilities(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"sys_admin", "dac_read_search"} {
		root := newTree(t, "a/b/f = one")
		r := as(t, root, "auto", "--bounding-set", "-"+missing, "--inh-caps", "-"+missing)
		require.Equal(t, "inotify", r.status().Status.Backend, missing)
		require.Equal(t, wire.Watched, r.status().State, missing)
		r.logs(`backend=fanotify error=`)
		r.logs("operation not permitted")
		seen := logStamps(t, root)
		write(t, filepath.Join(root, "a/b/f"), "two")
		r.sync()
		seen.fresh(missing, "a/b")
	}
}

// TestAsAnotherOwner: only the owner or CAP_FOWNER can set a directory's time. The log names
// the directory, .tidemark/stamps has its stamp; chown mends it.
func TestAsAnotherOwner(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	root := newTree(t, "ours/f = one", "theirs/below/f = one")
	for _, path := range []string{".", "ours", "ours/f", "theirs/below", "theirs/below/f"} {
		must(t, os.Chown(filepath.Join(root, path), nobody, nobody))
	}
	r := as(t, root, "auto", "--reuid", "65534", "--regid", "65534", "--clear-groups")
	seen := logStamps(t, root)
	write(t, filepath.Join(root, "theirs/below/f"), "two")
	r.sync()
	r.logs("path=theirs/")
	require.Equal(t, wire.Watched, r.status().State)
	seen.fresh("theirs", "theirs/below")
	seen.note()
	write(t, filepath.Join(root, "ours/f"), "two")
	r.sync()
	seen.fresh("beside it", "ours")
	must(t, os.Chown(filepath.Join(root, "theirs"), nobody, nobody))
	r.sync()
	seen.fresh("mended", "theirs")
	require.Zero(t, r.status().Status.Stamps)
}

// TestReadOnly: nothing can be stamped on a file system that was made read-only, and nothing
// changes there. When it is writable again, everything goes on. (The state is elsewhere: a
// file that is open for writing keeps a file system writable.)
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		place := testfs.Image(t, "mkfs.ext4", "-q", "-F")
		root := newTreeIn(t, place, "a/f = one")
		c := watch.Config{Root: root, Backend: backend, StateDir: newTree(t)}
		r := start(t, c)
		r.sync()
		seen := logStamps(t, root)
		testfs.Run(t, "mount", "-o", "remount,ro", place)
		require.Error(t, os.WriteFile(root+"/a/f", nil, 0o644))
		r.sync()
		testfs.Run(t, "mount", "-o", "remount,rw", place)
		write(t, filepath.Join(root, "a/f"), "two")
		r.sync()
		seen.fresh(backend, "a")
		r.await(wire.Watched)
		r.stop()
		testfs.Run(t, "mount", "-o", "remount,ro", place)
		err := watch.Run(t.Context(), watch.Config{Root: root, Backend: backend})
		require.Equal(t, exit.Local, exit.Of(err))
		require.ErrorContains(t, err, "read-only file system")
		require.ErrorContains(t, err, "--state-dir")
		testfs.Run(t, "mount", "-o", "remount,rw", place)
	}
}

// TestReadOnlyStart: with its state elsewhere, watch starts on a read-only tree. It writes
// the stamps to its file until the tree can be stamped.
func TestReadOnlyStart(t *testing.T) {
	t.Parallel()
	place := testfs.Image(t, "mkfs.ext4", "-q", "-F")
	root, state := newTreeIn(t, place, "a/f = one @1500000000", "a/ @1400000000"), newTree(t)
	testfs.Run(t, "mount", "-o", "remount,ro", place)
	audits := make(chan struct{})
	r := start(t, watch.Config{Root: root, StateDir: state, Audit: audits})
	require.Equal(t, 1, r.status().Status.Stamps)
	require.Contains(t, r.log.String(), "path=a/")
	require.Equal(t, mtree.Unix(1_400_000_000, 0), stampOf(t, root, "a"))
	testfs.Run(t, "mount", "-o", "remount,rw", place)
	audits <- struct{}{}
	require.Eventually(t, func() bool { return r.status().Status.Stamps == 0 }, deadline, time.Millisecond)
	require.False(t, stampOf(t, root, "a").Before(mtree.Unix(1_500_000_000, 0)), "the stamp in the file, or a later one")
}

// TestCrossMounts: with --cross-mounts a tree of several file systems is one.
func TestCrossMounts(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"inotify", "fanotify", "none"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			root := inMemory(t)
			for i, mkfs := range [][]string{{"mkfs.ext4", "-q", "-F"}, {"mkfs.btrfs", "-q"}} {
				at := filepath.Join(root, "m", mkfs[0])
				must(t, os.MkdirAll(at, 0o755))
				file, _ := testfs.Make(t, mkfs...)
				testfs.Mount(t, at, "mount", "-o", "loop", file, at)
				must(t, os.MkdirAll(filepath.Join(at, "x/y"), 0o755))
				write(t, filepath.Join(at, "x/y/f"), string(rune('0'+i)))
			}
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
			require.NotEqual(t, wire.Degraded, r.status().State, r.log)
			seen := logStamps(t, root)
			for range 3 {
				for _, dir := range []string{"m/mkfs.ext4/x/y", "m/mkfs.btrfs/x/y"} {
					write(t, filepath.Join(root, dir, "f"), time.Now().String())
					r.sync()
					seen.fresh(dir, dir)
					seen.note()
				}
				must(t, os.Rename(root+"/m/mkfs.ext4/x", root+"/m/mkfs.ext4/z"))
				r.sync()
				seen.fresh("renamed", "m/mkfs.ext4/z/y")
				must(t, os.Rename(root+"/m/mkfs.ext4/z", root+"/m/mkfs.ext4/x"))
				r.sync()
				seen.note()
			}
			require.Zero(t, r.config.Stats.Losses.Load(), r.log)
		})
	}
}

// TestUnmount: a file system that goes away below the root is a loss, and watch goes on with
// the rest. (fanotify holds it open: umount says that it is busy.)
func TestUnmount(t *testing.T) {
	t.Parallel()
	root := newTree(t, "m/", "a/f = one")
	at := filepath.Join(root, "m")
	testfs.Run(t, "mount", "-t", "tmpfs", "tidemark", at)
	must(t, os.MkdirAll(filepath.Join(at, "x/y"), 0o755))
	r := start(t, watch.Config{Root: root, Backend: "inotify", CrossMounts: true})
	seen := logStamps(t, root)
	testfs.Run(t, "umount", at)
	require.Eventually(t, func() bool { return r.config.Stats.Losses.Load() > 0 }, deadline, time.Millisecond)
	r.sync()
	require.Contains(t, r.log.String(), "unmounted")
	r.await(wire.Watched)
	write(t, filepath.Join(root, "a/f"), "two")
	r.sync()
	seen.fresh("the rest", "a")
}

// TestRootUnmounted: watch ends when its root was unmounted, moved or deleted. It must not
// go on to stamp what nobody can see.
func TestRootUnmounted(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"none", "inotify", "fanotify"} {
		for how, away := range map[string]func(root string) error{
			"unmounted": func(root string) error { return exec.Command("umount", "-l", root).Run() },
			"deleted":   func(root string) error { return removeAll(t, filepath.Join(root, "tree")) },
			"moved":     func(root string) error { return os.Rename(filepath.Join(root, "tree"), filepath.Join(root, "moved")) },
		} {
			t.Run(backend+"/"+how, func(t *testing.T) {
				t.Parallel()
				place := newTree(t)
				root := place
				if how == "unmounted" {
					testfs.Run(t, "mount", "-t", "tmpfs", "tidemark", place)
				} else {
					root = filepath.Join(place, "tree")
					must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
				}
				audits := make(chan struct{}, 1)
				r := start(t, watch.Config{Root: root, Backend: backend, Audit: audits})
				must(t, away(place))
				audits <- struct{}{} // of a lazy umount no event tells
				select {
				case err := <-r.ended:
					require.Equal(t, exit.Local, exit.Of(err))
					require.ErrorContains(t, err, "moved, deleted or unmounted")
				case <-time.After(deadline):
					t.Fatal("watch goes on")
				}
				r.cancel = nil
			})
		}
	}
}

// removeAll removes a tree in which watch may make its files again meanwhile.
func removeAll(t *testing.T, root string) (err error) {
	require.Eventually(t, func() bool { err = os.RemoveAll(root); return err == nil }, deadline, time.Millisecond)
	return err
}

// TestCleaned: git clean -fdx and rsync --delete remove .tidemark; it comes back
// with the same id, and nothing is missed.
func TestCleaned(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		root, other := newTree(t, "a/f = one"), newTree(t, "a/f = one", "b/g = two")
		testfs.Run(t, "git", "-C", root, "init", "-q")
		testfs.Run(t, "git", "-C", root, "add", "a")
		r := start(t, watch.Config{Root: root, Backend: backend})
		tree := r.status().Tree
		for _, clean := range [][]string{
			{"git", "-C", root, "clean", "-q", "-fdx"},
			{"rsync", "-a", "--delete", other + "/", root + "/"},
		} {
			seen := logStamps(t, root)
			require.Eventually(t, func() bool { return exec.Command(clean[0], clean[1:]...).Run() == nil }, deadline, time.Millisecond)
			require.Eventually(t, func() bool { return r.status().State == wire.Watched }, deadline, time.Millisecond)
			write(t, filepath.Join(root, "a/f"), clean[0])
			r.sync()
			seen.fresh(clean[0], "a")
			require.Equal(t, tree.ID, r.status().Tree.ID)
			require.Equal(t, tree.Epoch, r.status().Tree.Epoch)
			require.FileExists(t, filepath.Join(root, mtree.MarkerName, ".gitignore"))
		}
	}
}
