package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// Which file systems a server or another process keeps.
func TestDistant(t *testing.T) {
	for _, c := range []struct {
		show func(st *unix.Statfs_t)
		name string
	}{
		{func(st *unix.Statfs_t) { st.Type = unix.NFS_SUPER_MAGIC }, "NFS"},
		{func(st *unix.Statfs_t) { st.Type = unix.FUSE_SUPER_MAGIC }, "FUSE"},
		{func(st *unix.Statfs_t) { st.Type = unix.CEPH_SUPER_MAGIC }, "Ceph"},
		{func(st *unix.Statfs_t) { st.Type = unix.TMPFS_MAGIC }, ""},
		{nil, ""},
	} {
		k := faultkernel.New(t, 0)
		k.ShowFS = c.show
		fd, err := sys.Openat(unix.AT_FDCWD, "/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		name, err := Distant(fd)
		require.NoError(t, err)
		require.Equal(t, c.name, name)
		k.Refuse("statfs /", unix.EIO, -1)
		_, err = Distant(fd)
		require.ErrorIs(t, err, unix.EIO)
	}
}
