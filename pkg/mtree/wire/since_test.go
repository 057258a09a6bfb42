package wire

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// An answer to ?since may be 64 MiB of comments, each of which cost 16 KiB of memory to see
// whether it is the trailer.
func TestSinceCommentsAreBounded(t *testing.T) {
	r := NewSinceReader(strings.NewReader(strings.Repeat("#\n", 10_000) + "1.0 ./\t-\n#end 0\n#stamp 1.0\n"))
	_, _, err := r.Next()
	require.ErrorIs(t, err, mtree.ErrListing)

	r = NewSinceReader(strings.NewReader("# a comment\n1.0 ./\t-\n#end 0\n# another\n#stamp 1.0\n"))
	_, block, err := r.Next()
	require.NoError(t, err)
	_, _, err = block.Text(nil, 100)
	require.NoError(t, err)
	_, _, err = r.Next()
	require.Equal(t, io.EOF, err)
	_, whole := r.Trailer()
	require.True(t, whole)
}
