package state

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// A reader gets the old or the new status while it is written, also on file systems
// where a read may see half a write.
func TestStatusIsWhole(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	f, err := m.CreateStatus()
	require.NoError(t, err)
	defer f.Close()
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for i := int64(1); !stop.Load() && err == nil; i++ {
			stamp := mtree.Unix(i*1_000_003%1_000_000_000, i)
			err = f.Write(Status{State: wire.Watched, Floor: &stamp, Root: &stamp, Updated: &stamp})
		}
		done <- err
	}()
	for range 3000 {
		s, err := m.ReadStatus()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, s.Floor, s.Updated)
		require.Equal(t, s.Floor, s.Root)
	}
	stop.Store(true)
	require.NoError(t, <-done)
	// What no writer will mend is an error in the end.
	for _, torn := range []string{
		`{"begin":1,"state":"watched","clean":false,"end":2}`,
		`{"begin":1,"sum":7,"state":"watched","clean":false,"end":1}`, // its ends are old, and something between is new
	} {
		require.NoError(t, WriteFile(m.Dir(), "status.json", []byte(torn)))
		_, err = m.ReadStatus()
		require.ErrorIs(t, err, errTorn)
	}
	older := []byte(`{"begin":1,"state":"watched","clean":false,"end":1}`)
	require.NoError(t, WriteFile(m.Dir(), "status.json", older))
	s, err := m.ReadStatus()
	require.NoError(t, err)
	require.Equal(t, wire.Watched, s.State)
}
