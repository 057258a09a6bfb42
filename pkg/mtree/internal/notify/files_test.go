package notify

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/disk/disktest"
)

// Files are heard by whatever name they are written by, at each path at which they are.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	root := disktest.OpenRoot(t, dir)
	write := func(name string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	write("a")
	write("b")
	require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "other")))
	wake := make(chan struct{}, 1)
	f := NewFiles(wake)
	taken := func(want ...string) {
		t.Helper()
		paths, drained := f.Take()
		require.True(t, drained)
		require.Equal(t, want, paths)
	}
	taken()
	require.NoError(t, f.Close())
	f = NewFiles(wake)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	arm := func(path, name string) {
		t.Helper()
		require.NoError(t, f.Arm(path, root.FD(), name))
	}
	arm("1", "a")
	write("other")
	select {
	case <-wake:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was woken")
	}
	taken("1")
	taken()
	arm("2", "a")
	arm("3", "b")
	require.Equal(t, []string{"1", "2", "3"}, f.Armed())
	write("b")
	write("a")
	taken("1", "2", "3")
	f.Drop("1")
	f.Drop("none")
	write("other")
	taken("2")

	arm("2", "b") // another file is mounted there
	require.NoError(t, os.Remove(filepath.Join(dir, "other")))
	write("a")
	taken()
	require.NoError(t, f.queue.control(func(fd int) error {
		require.Equal(t, 1, watches(t, fd), "the other file is heard no more")
		return nil
	}))
	write("b")
	taken("2", "3")

	require.Equal(t, ErrGone, f.Arm("3", root.FD(), "gone"))
	require.Equal(t, []string{"2"}, f.Armed())
	require.ErrorIs(t, f.Arm("3", -1, "b"), ErrGone)
	write("b")
	taken("2")
}

// Where more waits than memory allows, or the kernel's queue overflowed, each file may have changed.
func TestFilesThatMayHaveChanged(t *testing.T) {
	dir := t.TempDir()
	root := disktest.OpenRoot(t, dir)
	f := NewFiles(make(chan struct{}, 1))
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		require.NoError(t, f.Arm(name, root.FD(), name))
	}
	all := []string{"a", "b"}
	for what, happens := range map[string]func(){
		"more than memory allows": func() { f.queue.buf = f.queue.compress(f.queue.buf, make([]byte, unix.SizeofInotifyEvent)) },
		"lost":                    func() { f.queue.lost = "reading failed" },
		"overflowed": func() {
			f.queue.buf = append(f.queue.buf, 0xff, 0xff, 0xff, 0xff, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		},
	} {
		f.queue.mu.Lock()
		happens()
		f.queue.mu.Unlock()
		paths, _ := f.Take()
		require.Equal(t, all, paths, what)
		paths, _ = f.Take()
		require.Empty(t, paths, what)
	}
}
