//go:build filesystems

package watch_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// byHandle is a file that is opened as the kernel's NFS server opens it.
type byHandle struct {
	t      *testing.T
	mount  *os.File
	handle unix.FileHandle
}

func handleOf(t *testing.T, mount, path string) byHandle {
	at, err := os.Open(mount)
	must(t, err)
	t.Cleanup(func() { _ = at.Close() })
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	must(t, err)
	return byHandle{t, at, handle}
}

func (h byHandle) open() *os.File {
	fd, err := unix.OpenByHandleAt(int(h.mount.Fd()), h.handle, unix.O_WRONLY|unix.O_CLOEXEC)
	must(h.t, err)
	return os.NewFile(uintptr(fd), "by handle")
}

// uncache makes the kernel forget which names stand where on the file system that is mounted
// on dir, as it does when memory is short. It does not work on tmpfs, which has its names in
// memory only.
func uncache(t *testing.T, dir string) { testfs.Run(t, "mount", "-o", "remount", dir) }

// TestWrittenByHandle: a file that was opened by its handle while the kernel knew none of
// its names has no directory. fanotify was not asked for the file's own handle. So nothing
// was heard of writes, of the close, or of chmod, and the state stayed watched.
func TestWrittenByHandle(t *testing.T) {
	for _, fs := range fileSystems {
		if fs.best != "fanotify" {
			continue
		}
		t.Run(fs.name, func(t *testing.T) {
			t.Parallel()
			dir := fs.make(t)
			root := newTreeIn(t, dir, "a/b/f = one", "a/b/g = two", "c/f = three")
			f, g := handleOf(t, dir, filepath.Join(root, "a/b/f")), handleOf(t, dir, filepath.Join(root, "a/b/g"))
			r := start(t, watch.Config{Root: root, Backend: "fanotify"})
			r.sync()
			seen := logStamps(t, root)
			did := func(what string) {
				t.Helper()
				r.sync()
				seen.fresh(what, "a/b")
				r.await(wire.Watched)
				seen.note()
			}
			uncache(t, dir)
			open := f.open()
			_, err := open.WriteString("written")
			must(t, err)
			did("write by handle")
			before := r.config.Stats.Losses.Load()
			_, err = open.WriteString("again")
			must(t, err)
			did("write, now that the audit has looked up the name")
			must(t, open.Close())
			did("close")
			require.Equal(t, before, r.config.Stats.Losses.Load())
			uncache(t, dir)
			open = g.open()
			chmod := exec.Command("chmod", "600", "/proc/self/fd/3") // by a process that renames nothing, as watch does
			chmod.ExtraFiles = []*os.File{open}
			must(t, chmod.Run())
			did("chmod by handle")
			must(t, open.Close())
		})
	}
}

// TestLinkCountsAreNoLoss: each unlink of a file with other names, and each rename over one,
// makes an event without a directory, too. If the kernel knows none of the other names, that
// is no reason for an audit, in the tree or beside it.
func TestLinkCountsAreNoLoss(t *testing.T) {
	const files = 300
	for _, fs := range fileSystems {
		if fs.best != "fanotify" {
			continue
		}
		t.Run(fs.name, func(t *testing.T) {
			t.Parallel()
			dir := fs.make(t)
			root, beside := newTreeIn(t, dir, "a/", "kept/"), newTreeIn(t, dir, "a/", "kept/")
			for _, base := range []string{root, beside} {
				for i := range files {
					name := fmt.Sprint(i)
					write(t, filepath.Join(base, "a", name), "text")
					must(t, os.Link(filepath.Join(base, "a", name), filepath.Join(base, "kept", name)))
				}
			}
			r := start(t, watch.Config{Root: root, Backend: "fanotify"})
			r.sync()
			seen := logStamps(t, root)
			uncache(t, dir)
			// The queue may be read between the two events of one rename, about once in some ten
			// thousand: that leads to an audit too many. It does not happen three times.
			for round := range 3 {
				r.config.Stats.Losses.Store(0)
				for i := round * files / 3; i < (round+1)*files/3; i++ {
					for _, base := range []string{root, beside} {
						at := filepath.Join(base, "a", fmt.Sprint(i))
						if i%2 == 0 {
							must(t, os.Remove(at))
							continue
						}
						write(t, at+".new", "other")
						must(t, os.Rename(at+".new", at))
					}
				}
				r.sync()
				seen.fresh("removed and replaced", "a")
				if r.config.Stats.Losses.Load() == 0 {
					return
				}
			}
			t.Fatal("each time an audit: ", r.log)
		})
	}
}

// TestInotifyIsDeafToHandles: inotify hears files through their directories, so a
// file that the kernel knows no name of is not heard. An audit finds it.
func TestInotifyIsDeafToHandles(t *testing.T) {
	t.Parallel()
	dir := testfs.Image(t, "mkfs.ext4", "-q", "-F")
	root := newTreeIn(t, dir, "a/b/f = one")
	f := handleOf(t, dir, filepath.Join(root, "a/b/f"))
	audits := make(chan struct{}, 1)
	r := start(t, watch.Config{Root: root, Backend: "inotify", Audit: audits})
	r.sync()
	seen := logStamps(t, root)
	uncache(t, dir)
	open := f.open()
	_, err := open.WriteString("written")
	must(t, err)
	must(t, open.Close())
	before := r.config.Stats.Audits.Load()
	audits <- struct{}{}
	require.Eventually(t, func() bool { return r.config.Stats.Audits.Load() > before }, deadline, 1e6)
	r.sync()
	seen.fresh("write by handle", "a/b")
}
