package wire_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

func TestRuns(t *testing.T) {
	var runs []wire.Run
	for i := range int64(wire.MaxRuns) {
		floor := mtree.Unix(100+i, 0)
		runs = append(runs, wire.Run{ID: fmt.Sprintf("%016x", i), Floor: &floor})
	}
	runs[wire.MaxRuns-1].Floor = nil
	text := wire.FormatRuns(runs)
	require.Regexp(t, `^([0-9a-f]{16} 1\d\d\.000000000, ){15}[0-9a-f]{16} -$`, text)
	require.Equal(t, runs, wire.ParseRuns(text))
	require.Equal(t, "000000000000000f", wire.LatestRun(runs))
	require.Empty(t, wire.LatestRun(nil))
	require.Nil(t, wire.ParseRuns(""))
	for _, bad := range []string{"x", "0000000000000001", "0000000000000001 x", "01 -", "0000000000000001 -,", text + ", " + text} {
		require.Nil(t, wire.ParseRuns(bad), bad)
	}
}
