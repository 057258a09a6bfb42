package notify

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A directory that leaves the tree while events are lost keeps its watch only until the next
// scan is done. Directories that the scan found keep theirs.
func TestForget(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, path := range []string{"/stays/below", "/leaves/a/b"} {
		require.NoError(t, os.MkdirAll(dir+path, 0o755))
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	s := &inotify{nodes: newNodes(), moving: map[uint32]*node{}, leaving: map[uint32]bool{}, compressed: map[int32]struct{}{}}
	s.queue.file = os.NewFile(uintptr(fd), "inotify") // which nobody reads: all is lost
	defer s.queue.file.Close()
	scan := func(paths ...string) {
		t.Helper()
		refs := map[string]Ref{"": {}}
		for _, path := range append([]string{""}, paths...) {
			parent, name := "", path
			if i := bytes.LastIndexByte([]byte(path), '/'); i > 0 {
				parent, name = path[:i], path[i+1:]
			}
			at, err := os.Open(dir + "/" + path)
			require.NoError(t, err)
			up, err := os.Open(dir + "/" + parent)
			require.NoError(t, err)
			refs[path], _, err = s.Arm(refs[parent], int(up.Fd()), name, int(at.Fd()))
			require.NoError(t, err)
			require.NoError(t, up.Close())
			require.NoError(t, at.Close())
		}
		s.Forget()
	}
	scan("stays", "stays/below", "leaves", "leaves/a", "leaves/a/b")
	require.Equal(t, 6, watches(t, fd))
	require.NoError(t, os.Rename(dir+"/leaves", outside+"/left"))
	scan("stays", "stays/below")
	require.Equal(t, 3, watches(t, fd))
	require.Len(t, s.nodes.byWD, 3)
	require.Len(t, s.nodes.child, 2)
}

// watches counts the watches that the kernel keeps.
func watches(t *testing.T, fd int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	require.NoError(t, err)
	return bytes.Count(text, []byte("inotify wd:"))
}
