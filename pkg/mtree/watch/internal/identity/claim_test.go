package identity

import (
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// Two watchers of one tree would each take the stamps of the other for changes. A copy is
// refused before its lock is tried, because that lock is its mirror's.
func TestClaim(t *testing.T) {
	o := Options{Now: func() mtree.Stamp { return clock }, Log: slog.New(slog.DiscardHandler)}
	root := disktest.OpenRoot(t, t.TempDir())
	m, lock, id, err := Claim(o, root)
	require.NoError(t, err)
	require.True(t, id.First)
	require.Nil(t, id.Status.Checkpoint, "there is no status yet")
	require.Equal(t, machine.Stay(root.FD()), id.Mounted)
	_, _, _, err = Claim(o, root)
	require.Equal(t, exit.Refused, exit.Of(err))
	require.ErrorIs(t, err, state.ErrLocked)

	require.NoError(t, m.WriteTree(id.Tree))
	status, err := m.CreateStatus()
	require.NoError(t, err)
	floor := mtree.Unix(5, 5)
	require.NoError(t, status.Write(state.Status{Floor: &floor}))
	require.NoError(t, status.Close())
	require.NoError(t, lock.Unlock())
	require.NoError(t, m.Close())
	m, lock, again, err := Claim(o, root)
	require.NoError(t, err)
	require.Equal(t, id.Tree.ID, again.Tree.ID)
	require.Equal(t, &floor, again.Status.Floor)
	require.NoError(t, lock.Unlock())

	// A status that cannot be read is no reason not to start.
	require.NoError(t, os.Remove(m.Dir().Path()+"/status.json"))
	require.NoError(t, os.Mkdir(m.Dir().Path()+"/status.json", 0o755))
	require.NoError(t, m.Close())
	m, lock, again, err = Claim(o, root)
	require.NoError(t, err)
	require.Nil(t, again.Status.Floor)
	require.NotEmpty(t, again.Doubts(clock))

	copied := id.Tree
	copied.Role = state.Copy
	require.NoError(t, m.WriteTree(copied)) // while its lock is held
	_, _, _, err = Claim(o, root)
	require.ErrorContains(t, err, "is a mirror's copy")
	require.NoError(t, lock.Unlock())
	require.NoError(t, m.Close())
}

// Where .tidemark cannot be made, and where it is something else.
func TestClaimWithoutAMarker(t *testing.T) {
	root := disktest.OpenRoot(t, t.TempDir())
	disktest.Write(t, root.Path()+"/.tidemark", "a file")
	_, _, _, err := Claim(Options{}, root)
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorIs(t, err, state.ErrInTheWay)
	require.NotContains(t, err.Error(), "writable")
	_, _, _, err = Claim(Options{StateDir: "/dev/null/x"}, root)
	require.Equal(t, exit.Local, exit.Of(err))
	require.ErrorContains(t, err, "writable")
}

// A root that is not there, and a state directory that would be published.
func TestOpenRoot(t *testing.T) {
	top := t.TempDir()
	_, err := OpenRoot(top+"/gone", "", false)
	require.Equal(t, exit.Local, exit.Of(err))
	require.NoError(t, os.Mkdir(top+"/state", 0o755))
	_, err = OpenRoot(top, top+"/state", false)
	require.Equal(t, exit.Usage, exit.Of(err))
	root, err := OpenRoot(top, "", false)
	require.NoError(t, err)
	require.NoError(t, root.Close())
}

// A disk that failed while the state directory was looked at counted as wrong use: systemd
// does not start the service again after that.
func TestAFailingDiskIsNoWrongUse(t *testing.T) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/tree", 0o755))
	require.NoError(t, k.Shell.Mkdir("/state", 0o755))
	k.Refuse("statx tree", unix.EIO, 1)
	_, err := OpenRoot("/tree", "/state", false)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, exit.Local, exit.Of(err))
	require.Empty(t, k.Open)
}

// What is a copy now, and was a source of which a state directory still knows, is refused.
// If its .tidemark could not be read for a moment, it became a source again.
func TestARootThatCannotBeRead(t *testing.T) {
	k := faultkernel.New(t, 0)
	require.NoError(t, k.Shell.Mkdir("/root", 0o755))
	root, err := disk.OpenRoot("/root")
	require.NoError(t, err)
	self, err := state.RootOf(root)
	require.NoError(t, err)
	for dir, role := range map[string]state.Role{"/state": state.Source, "": state.Copy} {
		m, err := state.CreateMarker(root, dir)
		require.NoError(t, err)
		tree := state.Tree{ID: state.NewTreeID(), Epoch: 7, Role: role}
		tree.Bind(self)
		require.NoError(t, m.WriteTree(tree))
		require.NoError(t, m.Close())
	}
	o := Options{Now: func() mtree.Stamp { return clock }, Log: slog.New(slog.DiscardHandler), StateDir: "/state"}
	_, _, _, err = Claim(o, root)
	require.Equal(t, exit.Refused, exit.Of(err))
	opened := 0
	k.Fail = func(call string) error {
		if call == "open tree" {
			if opened++; opened%2 == 0 { // after the state directory's
				return unix.EIO
			}
		}
		return nil
	}
	_, _, _, err = Claim(o, root)
	require.ErrorIs(t, err, unix.EIO)
	require.Equal(t, exit.Local, exit.Of(err))
}
