package notify_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
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
