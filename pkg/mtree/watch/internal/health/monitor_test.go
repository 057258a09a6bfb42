package health_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/health"
)

func newMonitor() *health.Monitor {
	return health.NewMonitor(slog.New(slog.DiscardHandler), new(atomic.Int64), new(atomic.Int64))
}

// The root must show its own stamp: otherwise no reader is woken.
func TestARootThatRefuses(t *testing.T) {
	m := newMonitor()
	m.Refuse("", disk.Node{Ino: 1}, mtree.Unix(1, 0), os.ErrPermission)
	require.Contains(t, m.Degraded(), "the root refuses")
	m.Accept("")
	require.NotEmpty(t, m.Degraded(), "until an audit")
	require.True(t, m.Mended())
	m.BeginAudit()
	m.EndAudit(1)
	require.Empty(t, m.Degraded())
}

// More exceptions than the files have room for still degrade a tree, until an audit finds
// fewer.
func TestTooManyToTell(t *testing.T) {
	m := newMonitor()
	m.BeginAudit()
	for i := range state.MaxUnread {
		require.True(t, m.CannotRead(fmt.Sprint(i), uint64(i), os.ErrPermission))
	}
	require.Empty(t, m.Degraded())
	m.CannotRead("one more", 1, os.ErrPermission)
	require.Contains(t, m.Degraded(), "too many")
	m.EndAudit(1)
	require.Contains(t, m.Degraded(), "too many")
	m.BeginAudit()
	require.Len(t, m.EndAudit(1), state.MaxUnread)
	require.Empty(t, m.Degraded())

	for i := range state.MaxStamps {
		m.Refuse(fmt.Sprint(i), disk.Node{Ino: uint64(i)}, mtree.Unix(1, 0), os.ErrPermission)
	}
	require.Empty(t, m.Degraded())
	m.Refuse("one more", disk.Node{Ino: 1 << 40}, mtree.Unix(1, 0), os.ErrPermission)
	require.Contains(t, m.Degraded(), "too many")
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	marker, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer marker.Close()
	_, err = m.Exceptions.Save(marker, false)
	require.NoError(t, err)
	require.Len(t, m.Retries(), state.MaxStamps)
	left, err := marker.ReadExceptions()
	require.NoError(t, err)
	require.Len(t, left.Stamps, state.MaxStamps)
	require.Len(t, left.Unread, state.MaxUnread, "opened, for what is above them was not stamped")
}
