package mirror

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/mirror/internal/source"
)

// liar is a source that gives fewer or more bytes than it says.
type liar struct {
	origin
	body string
}

func (l *liar) Fetch(_ context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	return func(yield func(int, source.File) bool) {
		for i := range want {
			if !yield(i, source.File{Got: *want[i].Entry, Body: strings.NewReader(l.body)}) {
				return
			}
		}
	}
}

// Whatever a source sends, a file of another length does not get its name.
func TestTheLengthIsAlwaysChecked(t *testing.T) {
	for _, body := range []string{"", "ab", "abcd"} {
		s := watched(t, "f = abc")
		b := newBench(t, s.root)
		m, err := open(b.config)
		require.NoError(t, err)
		defer m.close()
		m.source = &liar{m.source, body}
		p, err := m.once(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, p.Failed)
		require.NoFileExists(t, b.path("f"))
	}
}
