package identity

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/internal/sys/simkernel"
)

// refusing is a machine on which one name cannot be opened, and one descriptor not be
// looked at.
type refusing struct {
	sys.Kernel
	name string
	fd   int
}

func (k *refusing) Openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	if path == k.name {
		return -1, unix.EIO
	}
	return k.Kernel.Openat(dirfd, path, flags, mode)
}

func (k *refusing) Statx(dirfd int, path string, flags, mask int) (unix.Statx_t, error) {
	if path == "" && dirfd == k.fd {
		return unix.Statx_t{}, unix.EIO
	}
	return k.Kernel.Statx(dirfd, path, flags, mask)
}

// What the disk does not give ends the start with its error, and does not advise to delete
// a tree file that nobody has read.
func TestWhatTheDiskRefuses(t *testing.T) {
	machine := simkernel.New(simkernel.Options{})
	k := &refusing{Kernel: machine.Start("watch", 0)}
	defer sys.Simulate(k)()
	require.NoError(t, machine.Shell(0).Mkdir("/.tidemark", 0o755))
	require.NoError(t, machine.Shell(0).Write("/.tidemark/tree", "{}"))
	root, err := disk.OpenRoot("/")
	require.NoError(t, err)
	defer root.Close()
	claim := func() error {
		_, _, _, err := Claim(Options{Now: func() mtree.Stamp { return clock }}, root)
		return err
	}
	k.name, k.fd = "tree", -1
	require.ErrorIs(t, claim(), unix.EIO)
	require.Equal(t, exit.Local, exit.Of(claim()))
	require.NotContains(t, claim().Error(), "delete it")

	require.NoError(t, machine.Shell(0).Remove("/.tidemark/tree"))
	for _, c := range []refusing{{name: ".", fd: -1}, {fd: root.FD()}} {
		k.name, k.fd = c.name, c.fd
		require.ErrorIs(t, claim(), unix.EIO)
		require.Equal(t, exit.Local, exit.Of(claim()))
	}
}

// A root whose attributes cannot be read is not taken for a new tree: it may be a mirror's copy, and
// its own copies would be compared with a tree of another id.
func TestAttributesThatCannotBeRead(t *testing.T) {
	for nth := range 2 { // the note of the tree, the record of a mirror
		k := faultkernel.New(t, 0)
		k.Make(t, "/tree/")
		root, err := disk.OpenRoot("/tree")
		require.NoError(t, err)
		k.RefuseNth("getxattr tree", nth+1, unix.EIO)
		_, _, _, err = Claim(Options{Now: func() mtree.Stamp { return clock }}, root)
		require.ErrorIs(t, err, unix.EIO)
		require.Equal(t, exit.Local, exit.Of(err))
		require.NoError(t, root.Close())
	}
}
