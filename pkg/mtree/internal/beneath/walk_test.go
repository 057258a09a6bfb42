package beneath

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Under systemd's RestrictSUIDSGID=, which DynamicUser= implies, openat2(2) is
// ENOSYS, and serve answered 500 to everything. A walk opens the same as openat2, and
// nothing else: at random paths with links, "..", mounts on directories and files.
func TestWalkIsOpenat2(t *testing.T) {
	root := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "b", "c", "f", ".", "..", ""}
	path := func() string {
		var parts []string
		for range 1 + random.IntN(6) {
			parts = append(parts, names[random.IntN(len(names))])
		}
		return strings.Join(parts, "/")
	}
	for range 80 {
		at := filepath.Join(root, filepath.Clean("/"+path()))
		switch random.IntN(5) {
		case 0:
			_ = os.Symlink(path(), at) // something in the way is no matter: there is enough
		case 1:
			_ = os.WriteFile(at, nil, 0o644)
		default:
			_ = os.MkdirAll(at, 0o755)
		}
	}
	mount := func(name, from, kind string, flags uintptr) {
		at := filepath.Join(root, name)
		require.NoError(t, unix.Mount(from, at, kind, flags, ""))
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	}
	for _, dir := range []string{"a/m/a", "a/same", "b/m"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/over"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/null"), nil, 0o644))
	mount("a/m", "none", "tmpfs", 0)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "a/m/a/b"), 0o755))
	mount("a/same", root+"/b", "", unix.MS_BIND) // another mount of one device
	mount("a/over", root+"/a/null", "", unix.MS_BIND)
	mount("a/null", "/dev/null", "", unix.MS_BIND)
	names = append(names, "m", "same", "over", "null")
	d, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(d)
	opened, failed := 0, 0
	for range 20000 {
		p := path()
		flags := []uint64{unix.O_PATH, unix.O_RDONLY | unix.O_DIRECTORY, unix.O_RDONLY | unix.O_NONBLOCK}[random.IntN(3)]
		how := howTo(flags, random.IntN(2) == 0)
		want, wantErr := openat2(d, p, &how)
		got, gotErr := walkTo(d, p, &how)
		if wantErr != nil {
			failed++
			require.Error(t, gotErr, "%q %x", p, how)
			require.Equal(t, isLink(wantErr), isLink(gotErr), "%q %x: %v, %v", p, how, wantErr, gotErr)
			require.Equal(t, wantErr == unix.EXDEV, gotErr == unix.EXDEV, "%q %x: %v, %v", p, how, wantErr, gotErr)
			continue
		}
		opened++
		require.NoError(t, gotErr, "%q %x", p, how)
		require.Equal(t, inode(t, want), inode(t, got), "%q %x", p, how)
		require.NoError(t, unix.Close(want))
		require.NoError(t, unix.Close(got))
	}
	require.Greater(t, opened, 1000)
	require.Greater(t, failed, 1000)
	left, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	require.Less(t, len(left), 100, "descriptors stay open")
}

func isLink(err error) bool { return err == unix.ELOOP || err == unix.ENOTDIR }

func inode(t *testing.T, fd int) [2]uint64 {
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	return [2]uint64{st.Dev, st.Ino}
}

// Mounts without numbers are distinguished by their devices, but only by those of
// directories.
func TestMountsWithoutNumbers(t *testing.T) {
	start := mount{dev: 1, dir: true}
	require.False(t, mount{dev: 1, dir: true}.another(start))
	require.True(t, mount{dev: 2, dir: true}.another(start))
	require.False(t, mount{dev: 2}.another(start))
	require.True(t, mount{id: 2, dev: 1}.another(mount{id: 1, dev: 1, dir: true}))
}
