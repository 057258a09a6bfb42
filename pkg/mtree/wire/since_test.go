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

// An answer with parts is divided in the same way, and says which blocks are parts.
func TestSinceWithParts(t *testing.T) {
	whole := mtree.Listing{Stamp: mtree.Unix(3, 0), Entries: []mtree.Entry{{Name: "a", Kind: mtree.Dir, MTime: mtree.Unix(3, 0)}}}
	part := mtree.Listing{
		Path: "a", Stamp: mtree.Unix(3, 0), Part: []mtree.Span{{From: mtree.Unix(1, 0), To: mtree.Unix(2, 0)}},
		Gone: []string{"end 1", "x"},
	}
	text := mtree.AppendListing(mtree.FormatListing(part), whole)
	r := NewSinceReader(strings.NewReader(string(mtree.AppendTrailer(text, mtree.Trailer{Stamp: mtree.Unix(3, 0)}))))
	for _, want := range []mtree.Listing{part, whole} {
		path, block, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want.Path, path)
		require.Equal(t, want.IsPart(), block.IsPart())
		d := mtree.NewDecoder(block)
		d.Parts = true
		got, err := d.Next()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, _, err := r.Next()
	require.Equal(t, io.EOF, err)
	_, ended := r.Trailer()
	require.True(t, ended)
}
