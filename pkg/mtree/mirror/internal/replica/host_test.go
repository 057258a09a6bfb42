package replica

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// mounted is a machine with other mounts.
type mounted struct {
	*faulty
	text string
}

func (m mounted) ReadFile(path string) ([]byte, error) {
	if path == "/proc/self/mountinfo" {
		return []byte(m.text), nil
	}
	return m.faulty.ReadFile(path)
}

// The name of a copy is the one that its directory has on its file system.
func TestNameOf(t *testing.T) {
	const root = "1 0 8:1 / / rw - ext4 /dev/a rw\n"
	for mounts, name := range map[string]string{
		"":   "copy",
		root: "copy",
		root + "2 1 8:1 /data/music /copy rw - ext4 /dev/a rw\n": "music",
		root + "2 1 8:2 / /copy rw - ext4 /dev/b rw\n":           "copy",
	} {
		k := newFaulty(t, simkernel.Options{}, 0)
		t.Cleanup(sys.Simulate(mounted{k, mounts}))
		require.Equal(t, name, nameOf("/copy"), mounts)
		require.Equal(t, map[string]string{"music": "x", "copy": "x"}[name], nameOf("/copy/x"), "a directory that is to be made")
		require.Empty(t, nameOf("/missing/x"))
	}
}

// A state directory within the tree is wrong use. A disk that failed while that was looked
// at counted as wrong use, too: systemd does not start the service again after that.
func TestCheckStateDir(t *testing.T) {
	k := newFaulty(t, simkernel.Options{}, 0)
	k.tree("s/")
	require.NoError(t, k.Shell.Mkdir("/state", 0o755))
	root, err := disk.OpenRoot("/copy")
	require.NoError(t, err)
	require.NoError(t, CheckStateDir(root, ""))
	require.NoError(t, CheckStateDir(root, "/state"))
	err = CheckStateDir(root, "/copy/s")
	require.ErrorIs(t, err, state.ErrWithin)
	require.Equal(t, exit.Usage, exit.Of(err))
	k.Refuse("statx copy", unix.EIO, 1)
	err = CheckStateDir(root, "/state")
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, exit.Local, exit.Of(err))
}
