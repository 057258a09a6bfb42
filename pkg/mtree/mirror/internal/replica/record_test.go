package replica

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// opened returns a new copy.
func opened(t *testing.T) *Replica {
	r, err := Open(&Options{Path: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: machine.Now})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// A directory is complete if its record has exactly the stamp (a later one does not do),
// and its time is that stamp as far as it can be stored.
func TestIsCompleted(t *testing.T) {
	r := &Replica{Times: filetime.Range{Min: mtree.MinStamp, Max: mtree.MaxStamp, Granule: time.Second}}
	stamp := mtree.Unix(1_000_000_000, 500)
	info := disk.Info{MTime: mtree.Unix(1_000_000_000, 0)}
	require.True(t, r.IsCompleted(records.Record{Stamp: stamp}, info, stamp))
	require.False(t, r.IsCompleted(records.Record{Stamp: stamp.Add(1)}, info, stamp), "another one within the second")
	require.False(t, r.IsCompleted(records.Record{Stamp: stamp.Add(-1)}, info, stamp))
	require.False(t, r.IsCompleted(records.Record{Stamp: stamp}, disk.Info{MTime: info.MTime.Add(time.Second)}, stamp), "touched")
}

// A directory below which nothing is trusted stays so, whatever else is begun in
// it: a release, a repair, a visit that does not know.
func TestBeginKeepsDistrust(t *testing.T) {
	r := opened(t)
	require.NoError(t, r.SetRecord(r.Root, "", records.Record{Stamp: mtree.Unix(1_000, 0), Now: mtree.Unix(1_001, 0), ID: "i"}))
	for _, step := range []struct{ doubts, want Doubts }{
		{0, 0}, {DoubtBelow, DoubtBelow}, {0, DoubtBelow}, {DoubtBytes, DoubtBelow | DoubtBytes}, {DoubtBelow, DoubtBelow | DoubtBytes},
	} {
		require.NoError(t, r.Begin(r.Root, "", records.Record{}, step.doubts))
		record, ok, _ := r.Record(r.Root, "")
		require.True(t, ok)
		require.Equal(t, step.want.stamp(r.stay), record.Stamp)
		doubts, begun := DoubtsOf(record)
		require.True(t, begun)
		require.Equal(t, step.want, doubts)
		require.Equal(t, "i", record.ID)
		require.Equal(t, mtree.Unix(1_001, 0), record.Now)
	}
}
