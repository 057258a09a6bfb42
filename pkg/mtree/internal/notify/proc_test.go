package notify_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// Where nothing is mounted at /proc, as in a chroot, there is no way to arm a directory that
// is open: a source of events says so when it is opened. Inotify said nothing, and armed
// nothing; a watcher of such a tree never published its changes.
func TestSourcesWithoutProc(t *testing.T) {
	k := faultkernel.New(t, 0)
	k.Fail = func(call string) error {
		if strings.HasPrefix(call, "proc ") {
			return unix.ENOENT
		}
		return nil
	}
	wake := make(chan struct{}, 1)
	_, err := notify.Inotify(wake)
	require.ErrorContains(t, err, "/proc")
	require.NotErrorIs(t, err, fs.ErrNotExist, "a start would try again")
	require.Equal(t, 1, k.Made("close"), "nothing stays open")

	// None could not arm the marker, which counted as a directory that has to be looked at often: the
	// tree was degraded for good, and watch --once ended with 1.
	none, err := notify.None(wake)
	require.NoError(t, err)
	ref, _, err := none.Arm(notify.Marker, -1, ".tidemark", -1)
	require.NoError(t, err)
	require.Equal(t, notify.Marker, ref)
	require.NoError(t, none.Close())
}

// openDirs makes directories in a machine and opens them.
func openDirs(t *testing.T, k *faultkernel.Kernel, paths ...string) (fds []int) {
	for _, path := range paths {
		k.Make(t, path+"/")
		fd, err := sys.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		fds = append(fds, fd)
	}
	return fds
}

// Without /proc .tidemark could not be armed: a watch without events counted that as a directory
// which cannot be heard, and its tree was degraded for ever. It is heard by its path, if that
// leads to it.
func TestMarkerWithoutProc(t *testing.T) {
	k := faultkernel.New(t, 0)
	fds := openDirs(t, k, "/tree/.tidemark", "/tree/other")
	k.NoProc = true
	wake := make(chan struct{}, 1)
	none, err := notify.None(wake)
	require.NoError(t, err)
	_, _, err = none.Arm(notify.Marker, -1, "/tree/.tidemark", fds[0])
	require.NoError(t, err)
	k.Make(t, "/tree/.tidemark/sync-1")
	<-wake
	require.Equal(t, []string{"sync-1"}, none.Take().Marker)
	for _, path := range []string{"/tree/other", "/tree/gone"} {
		_, _, err = none.Arm(notify.Marker, -1, path, fds[0])
		require.NoError(t, err, "audits look")
	}
	k.Make(t, "/tree/other/f", "/tree/.tidemark/sync-2")
	<-wake
	require.Equal(t, []string{"sync-2"}, none.Take().Marker, "what the path leads to is not heard")
	require.NoError(t, none.Close())
}

// Where /proc was unmounted while watch ran, each directory that arrived seemed to have gone
// again, with an event to come: it was neither heard nor audited, and the state was "watched".
func TestProcIsUnmounted(t *testing.T) {
	k := faultkernel.New(t, 0)
	fds := openDirs(t, k, "/tree", "/tree/a")
	s, err := notify.Inotify(make(chan struct{}, 1))
	require.NoError(t, err)
	root, _, err := s.Arm(notify.Ref{}, -1, "", fds[0])
	require.NoError(t, err)
	k.NoProc = true
	_, _, err = s.Arm(root, fds[0], "a", fds[1])
	require.ErrorIs(t, err, sys.ErrNoProc)
	require.NotErrorIs(t, err, notify.ErrGone)
	k.NoProc = false
	_, _, err = s.Arm(root, fds[0], "a", fds[1])
	require.NoError(t, err)
	require.NoError(t, k.Shell.Remove("/tree/a"))
	_, _, err = s.Arm(root, fds[0], "a", fds[1])
	require.ErrorIs(t, err, notify.ErrGone)
	require.NoError(t, s.Close())
}
