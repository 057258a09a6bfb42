package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Times that are not stamps of the source's watch do not count as such: those of an
// unfinished directory of a copy, and below the root those of the kernel.
func TestTimesThatAreNoStamps(t *testing.T) {
	hot := &mtree.Listing{Stamp: mtree.Unix(1_000, 0), Hot: true}
	require.False(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, hot, false))
	require.False(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, hot, true))
	require.True(t, isStamp(&source.Root{Upstreams: "host", State: wire.Mirrored}, &mtree.Listing{}, false))
	require.True(t, isStamp(&source.Root{State: wire.Watched}, hot, false))
	require.False(t, isStamp(&source.Root{State: wire.Audited}, hot, false))
	require.True(t, isStamp(&source.Root{State: wire.Audited}, hot, true))
}

// Alternating fingerprints are reported once. A copy that lost its .tidemark has no
// fingerprint.
func TestFlapping(t *testing.T) {
	var f flapping
	require.False(t, f.note("", "a"))
	require.False(t, f.note("a", "b"))
	require.False(t, f.note("", "a"))
	require.True(t, f.note("b", "a"))
	require.False(t, f.note("a", "b"), "it was reported")
	require.False(t, f.note("b", "b"))
	require.False(t, f.note("b", "a"))

	f = flapping{}
	require.False(t, f.note("a", "a"))
	require.False(t, f.note("a", "a"), "the same again")
	require.False(t, f.note("a", "b"))
	require.False(t, f.note("b", "c"))
	require.False(t, f.note("c", "c"))
	require.True(t, f.note("c", "a"), "however long ago")
}
