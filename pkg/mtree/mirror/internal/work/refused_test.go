package work

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/limits"
)

// A part suffices though a file in it is left out, unless the copy has another version of it: how many
// of these a directory has, only a whole listing says.
func TestAPartWithFilesThatAreRefused(t *testing.T) {
	b := newBench(t, 0, "f g")
	b.env.Limits = limits.Limits{MaxSize: 10}
	big := file("new")
	big.Size = 11
	b.tells("", big)
	v := b.visit()
	require.Zero(t, b.wholes())
	require.Empty(t, v.Plan.Fetch)
	require.Equal(t, int64(1), v.Plan.Refused)

	b = newBench(t, 0, "f g")
	b.env.Limits = limits.Limits{MaxSize: 10}
	big.Name = "g"
	b.tells("", big)
	b.list(big)
	v = b.visit()
	require.Equal(t, 1, b.wholes())
	require.False(t, v.Listing.IsPart())
	require.Empty(t, v.Plan.Fetch)
	require.Equal(t, "g", namesOf(v.Plan.Older))
	require.False(t, v.Begun, "nothing is to be done")
}

// The age of a file is that at which its listing was read, where that is known.
func TestTheAgeOfAFile(t *testing.T) {
	b := newBench(t, 0, "f")
	b.env.Limits = limits.Limits{MaxAge: time.Hour}
	e := mtree.Entry{Kind: mtree.File, MTime: now.Add(-2 * time.Hour)}
	require.True(t, b.env.refuses(&mtree.Listing{}, nil)(&e))
	require.True(t, b.env.refuses(&mtree.Listing{Now: now, HasNow: true}, nil)(&e))
	require.False(t, b.env.refuses(&mtree.Listing{Now: now.Add(-time.Hour), HasNow: true}, nil)(&e))
}

// What a power cut may have taken bytes of is fetched, whatever its size.
func TestARefusedFileThatMayLackBytes(t *testing.T) {
	for _, lost := range []bool{false, true} {
		b := newBench(t, 0, "f g")
		b.env.Limits = limits.Limits{MaxSize: 10}
		big := file("g")
		big.Size = 11
		b.list(big)
		if lost {
			b.record(records.Record{Stamp: mtree.MinStamp.Add(1 << 20), Now: before, ID: ours}) // it was begun in another stay
		}
		v := b.visit()
		require.Equal(t, lost, v.MayBeLost)
		require.Equal(t, map[bool]string{true: "g"}[lost], namesOf(v.Plan.Fetch))
	}
}
