package replica

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/records"
)

// A directory is remembered as complete with one stamp and one ctime, until its
// record is written.
func TestProvenIsOfOneStampAndOneCTime(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	at, later := mtree.Unix(1_000, 1), mtree.Unix(1_000, 2)
	have := func(ctime mtree.Stamp) *mtree.Entry {
		return &mtree.Entry{Kind: mtree.Dir, MTime: at, CTime: ctime, Has: mtree.HasCTime}
	}
	var d Replica
	require.False(t, d.proven.has("a/b", at, have(at)))
	d.proven.add("a/b", records.Record{Stamp: at}, disk.Info{MTime: at, CTime: at})
	require.True(t, d.proven.has("a/b", at, have(at)))
	require.False(t, d.proven.has("a/b", later, have(at)), "another stamp")
	require.False(t, d.proven.has("a/b", at, have(later)), "it was changed")
	require.False(t, d.proven.has("a/b", at, &mtree.Entry{CTime: at}), "no ctime is known")
	require.False(t, d.proven.has("a", at, have(at)), "another directory")
	require.NoError(t, d.SetRecord(root, "a/b", records.Record{Stamp: Doubts(0).stamp(1)}))
	require.False(t, d.proven.has("a/b", at, have(at)), "its record was written")
}

func TestProvenIsBounded(t *testing.T) {
	var m proven
	for i := range 2*mostProven + 10 {
		m.add(strconv.Itoa(i), records.Record{}, disk.Info{})
		require.LessOrEqual(t, len(m.byPath), mostProven)
	}
	require.NotEmpty(t, m.byPath)
}
