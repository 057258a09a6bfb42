package machine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A directory is below another one also by way of a symlink or a bind mount. The test
// needs CAP_SYS_ADMIN, to mount.
func TestIsBelow(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"root/a/b", "beside", "bound", "root/mount", "disk/x"} {
		require.NoError(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	require.NoError(t, os.Symlink("root/a", filepath.Join(top, "link")))
	mount := func(from, at string) {
		at = filepath.Join(top, at)
		require.NoError(t, unix.Mount(filepath.Join(top, from), at, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	}
	mount("root/a", "bound")
	mount("disk", "root/mount")
	open := func(name string) int {
		fd, err := unix.Open(filepath.Join(top, name), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	root := open("root")
	for name, want := range map[string][2]bool{ // without mounts below the root, and with them
		"root": {true, true}, "root/a/b": {true, true}, "link": {true, true}, "bound/b": {true, true},
		"beside": {false, false}, "": {false, false}, "root/mount/x": {true, true}, "disk/x": {false, true},
	} {
		for i, all := range []bool{false, true} {
			below, err := IsBelow(open(name), root, all)
			require.NoError(t, err)
			require.Equal(t, want[i], below, "%q %t", name, all)
		}
	}
}
