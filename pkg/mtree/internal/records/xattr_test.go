package records

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// watch said of each root of somebody else's that it keeps the record of a copy: the kernel refuses to remove one
// before it looks whether there is any.
func TestDropWithoutRights(t *testing.T) {
	for _, has := range []bool{false, true} {
		path := t.TempDir()
		d, err := disk.OpenRoot(path)
		require.NoError(t, err)
		defer d.Close()
		if has {
			require.NoError(t, Set(d, Record{Stamp: mtree.Unix(1, 0)}))
		}
		require.NoError(t, exec.Command("chattr", "+i", path).Run())
		err = Drop(d)
		require.NoError(t, exec.Command("chattr", "-i", path).Run())
		require.Equal(t, has, err != nil, "%v", err)
	}
}
