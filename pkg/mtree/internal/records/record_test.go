package records

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func TestRecordText(t *testing.T) {
	for _, bad := range []string{"", "1.0 2.0", "1.0 2.0 a b", "x 2.0 a", "1.0 x a", "1 1 - 0/", "1 1 - x/e", "1 1 - 5", "1 1 - -1/e", "1 1 - 1/e 2"} {
		_, ok := parse(bad)
		require.False(t, ok, "%q", bad)
	}
	none := Record{Stamp: mtree.Unix(-1, 5), Now: mtree.Unix(3, 0)}
	got, ok := parse(none.String())
	require.True(t, ok)
	require.Equal(t, none, got)
	text := Record{ID: "i", Excluded: 12, Fingerprint: "0a1b2c"}.String()
	require.True(t, strings.HasSuffix(text, " i 12/0a1b2c"), text)
	back, ok := parse(text)
	require.True(t, ok)
	require.Equal(t, text, back.String())
}
