//go:build filesystems

package mirror

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/replica"
)

// After a power cut on ext4 with data=writeback, a partial file had its size and other
// bytes, and was continued. A disk that was unmounted may have lost its power meanwhile; a
// program that was only started again may rely on what it wrote. On btrfs that was never
// known, and a file became torn.
func TestAPartIsNotContinuedOnceTheDiskWasAway(t *testing.T) {
	for _, mkfs := range [][]string{{"mkfs.ext4", "-q"}, {"mkfs.xfs", "-q"}, {"mkfs.btrfs", "-q"}} {
		image, at := testfs.Make(t, mkfs...)
		testfs.Mount(t, at, "mount", "-o", "loop", image, at)
		kept := func() int64 {
			r, err := replica.Open(&replica.Options{Path: filepath.Join(at, "copy"), Log: slog.New(slog.DiscardHandler), Now: machine.Now})
			require.NoError(t, err)
			defer r.Close()
			part, size, err := r.Staging.Continue("key", true)
			require.NoError(t, err)
			if size == 0 {
				_, err = part.Write([]byte("half"))
				require.NoError(t, err)
			}
			require.NoError(t, part.Keep())
			return size
		}
		require.EqualValues(t, 0, kept())
		require.EqualValues(t, 4, kept(), "in the same stay")
		testfs.Unmount(t, at)
		testfs.Run(t, "mount", "-o", "loop", image, at)
		require.EqualValues(t, 0, kept(), "the disk was away")
	}
}
