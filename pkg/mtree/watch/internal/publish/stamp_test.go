package publish

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch/internal/audit"
	"tidemark/pkg/mtree/watch/internal/health"
	"tidemark/pkg/mtree/watch/internal/ownwrites"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// What proves, besides a Take, that a directory we wrote did not arrive.
func TestProofOfAWrite(t *testing.T) {
	dir, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	shows, err := dir.Self()
	require.NoError(t, err)
	p := &publisher{Tree: &Tree{OwnWrites: ownwrites.New(nil, nil, mtree.Unix(0, 0))}}
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, 0, nil))
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, 0, &audit.Finding{}), "too young for the scan to tell")
	require.Equal(t, ownwrites.Judged, p.proofOf(shows, 0, &audit.Finding{Judged: shows.CTime}))
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, 0, &audit.Finding{Judged: shows.CTime.Add(1)}), "moved since the scan, perhaps")
	checkpoint := shows.CTime.Add(stamprule.LookBack)
	p.until = &checkpoint
	require.Equal(t, ownwrites.Unproven, p.proofOf(shows, 0, nil))
	checkpoint = checkpoint.Add(1)
	require.Equal(t, ownwrites.Proven, p.proofOf(shows, 0, nil), "nobody has touched it since before the checkpoint")
	p.until = nil
	p.OwnWrites.Put(shows, 0, ownwrites.Judged, true)
	require.Equal(t, ownwrites.Judged, p.proofOf(shows, 0, nil), "as good as what it overwrites")
}

// A stamp that equals the ctime which writing it left is not remembered as ours: a change in the
// same tick leaves the same, and an audit would pass over it.
func TestAStampThatEqualsItsCTimeIsNotOurs(t *testing.T) {
	dir, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	shows, err := dir.Self()
	require.NoError(t, err)
	p := &publisher{Tree: &Tree{
		OwnWrites: ownwrites.New(nil, nil, mtree.Unix(0, 0)),
		Health:    health.NewMonitor(slog.New(slog.DiscardHandler), new(atomic.Int64), new(atomic.Int64)),
	}}
	after := shows
	after.MTime = after.CTime
	p.remember("d", 0, after.MTime, shows, after, nil)
	require.False(t, p.OwnWrites.Has(after))
	after.MTime = after.CTime.Add(1)
	p.remember("d", 0, after.MTime, shows, after, nil)
	require.True(t, p.OwnWrites.Has(after))
}
