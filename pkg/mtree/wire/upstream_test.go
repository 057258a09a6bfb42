package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Upstreams survive their text; of nonsense nothing is kept.
func TestUpstreams(t *testing.T) {
	at := mtree.Unix(7, 5)
	upstreams := []wire.Upstream{{Host: "a.example:8077", Root: mtree.Unix(1, 2), Checkpoint: &at, Copy: "0123456789abcdef"}, {Host: "local", Root: mtree.Unix(-3, 4)}}
	text := wire.FormatUpstreams(upstreams)
	require.Equal(t, "a.example:8077#0123456789abcdef 1.000000002 7.000000005, local -2.999999996 -", text)
	require.Equal(t, upstreams, wire.ParseUpstreams(text))
	for _, bad := range []string{"", "x", "a 1", "a b c", "<b> 1 1", "a@b 1 1", strings.Repeat("a", 256) + " 1 1"} {
		require.Empty(t, wire.ParseUpstreams(bad), "%q", bad)
	}
	require.Len(t, wire.ParseUpstreams(strings.Repeat("a 1 1, ", 100)), wire.MaxUpstreams)
}
