package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

// What the text of any runs says is what is read from it again.
func FuzzRuns(f *testing.F) {
	f.Add("0123456789abcdef 1.000000002, 0123456789abcde0 -")
	f.Fuzz(func(t *testing.T, text string) {
		runs := wire.ParseRuns(text)
		require.LessOrEqual(t, len(runs), wire.MaxRuns)
		require.Equal(t, runs, wire.ParseRuns(wire.FormatRuns(runs)))
	})
}

func FuzzUpstreams(f *testing.F) {
	f.Add("a.example:8077#0123456789abcdef 1.000000002 7.000000005, local -2.999999996 -")
	f.Fuzz(func(t *testing.T, text string) {
		upstreams := wire.ParseUpstreams(text)
		require.LessOrEqual(t, len(upstreams), wire.MaxUpstreams)
		require.Equal(t, upstreams, wire.ParseUpstreams(wire.FormatUpstreams(upstreams)))
	})
}
