package lineage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelection(t *testing.T) {
	for _, s := range []Selection{
		{}, {Filters: []string{"- *.o", "+ a"}, NoLinks: true}, {NoDelete: true, NoLinks: true, Owner: true},
	} {
		require.Equal(t, s, ParseSelection(s.Rules()))
	}
	require.Equal(t, []string{"- *.o", "no-delete", "owner"}, Selection{Filters: []string{"- *.o"}, NoDelete: true, Owner: true}.Rules())
}
