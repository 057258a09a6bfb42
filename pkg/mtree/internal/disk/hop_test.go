package disk_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// A chain survives its text; of nonsense nothing is kept.
func TestHops(t *testing.T) {
	at := mtree.Unix(7, 5)
	hops := []disk.Hop{{"a.example:8077", mtree.Unix(1, 2), &at}, {"local", mtree.Unix(-3, 4), nil}}
	text := disk.FormatHops(hops)
	require.Equal(t, "a.example:8077 1.000000002 7.000000005, local -2.999999996 -", text)
	require.Equal(t, hops, disk.ParseHops(text))
	for _, bad := range []string{"", "x", "a 1", "a b c", "<b> 1 1", "a@b 1 1", strings.Repeat("a", 256) + " 1 1"} {
		require.Empty(t, disk.ParseHops(bad), "%q", bad)
	}
	require.Len(t, disk.ParseHops(strings.Repeat("a 1 1, ", 100)), disk.MaxHops)
	p := disk.Published{Tree: disk.Tree{Role: disk.Copy, Upstream: "http://u:p@up:1/secret/"}, Status: disk.Status{Root: &at, Chain: text}}
	require.Equal(t, append([]disk.Hop{{"up:1", at, nil}}, hops...), p.Chain())
	require.Empty(t, (&disk.Published{}).Chain())
}
