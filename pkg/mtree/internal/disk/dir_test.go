package disk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/disk/disktest"
)

// It is noticed when a root is moved away, and when another is put under its name.
func TestStanding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(path, 0o755))
	d := disktest.OpenRoot(t, path)
	require.NoError(t, d.StillAt(path))
	require.NoError(t, os.Rename(path, path+".away"))
	require.ErrorIs(t, d.StillAt(path), fs.ErrNotExist)
	require.NoError(t, os.Mkdir(path, 0o755))
	require.ErrorIs(t, d.StillAt(path), disk.ErrReplaced)
}
