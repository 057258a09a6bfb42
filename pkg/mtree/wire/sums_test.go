package wire_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

// An answer that broke off was told as a line that is none, in the place of what had broken it; and where nothing
// tells the length of an answer, as in HTTP/1.0, the sum of "f10" was that of "f1".
func TestSumsThatBreakOff(t *testing.T) {
	whole := wire.AppendSum(wire.AppendSum(nil, &wire.Sum{Path: "a"}), &wire.Sum{Path: "f10"})
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := range whole {
		var got []string
		err := wire.ReadSums(bytes.NewReader(whole[:cut]), 2, func(s wire.Sum) { got = append(got, s.Path) })
		if cut == 0 || cut == first {
			require.NoError(t, err, cut)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d: %q", cut, got)
		}
		require.NotContains(t, strings.Join(got, " "), "f", cut)
	}
}
