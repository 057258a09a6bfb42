package disk

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// Without /proc, as in a chroot, an ordinary user's file that was made without a name could get
// none before Linux 6.10: no new file arrived in a copy.
func TestFilesWithoutProc(t *testing.T) {
	for _, missing := range []bool{true, false} {
		k := faultkernel.New(t, 0)
		k.Make(t, "/copy/")
		k.NoProc = missing
		d := rootAt(t, "/copy")
		a, err := openStaging(d, "aside")
		require.NoError(t, err)
		f, err := a.Create(d, "f", true, 0o644)
		require.NoError(t, err)
		_, err = f.Write([]byte("text"))
		require.NoError(t, err)
		require.NoError(t, f.Place(d, "f"))
		text, err := k.Shell.Read("/copy/f")
		require.NoError(t, err)
		require.Equal(t, "text", text)
		require.Empty(t, k.Shell.Names("/copy/aside"))
		require.Equal(t, missing, a.named.Load())
		require.NoError(t, a.Close())
	}
}

// Before Linux 6.6 the mode of an entry is set through /proc. Without it that said that there is
// no such file.
func TestModesWithoutProc(t *testing.T) {
	k := faultkernel.New(t, 0)
	k.Make(t, "/copy/f")
	d := rootAt(t, "/copy")
	k.Refuse("chmod f", unix.EOPNOTSUPP, 1)
	k.NoProc = true
	err := d.ChmodEntry("f", 0o600)
	require.ErrorIs(t, err, sys.ErrNoProc)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	k.Refuse("chmod f", unix.EOPNOTSUPP, 1)
	k.NoProc = false
	require.NoError(t, d.ChmodEntry("f", 0o600))
}
