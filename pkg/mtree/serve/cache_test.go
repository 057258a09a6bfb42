package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// Only a page that carries the stamp the directory had before it was read, and
// is not hot, is kept.
func TestWhatIsKept(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/a", nil, 0o644))
	h, err := New(Config{Root: root})
	require.NoError(t, err)
	defer h.Close()
	look := func(change func(*dirRequest, *mtree.Listing)) *pages.Page {
		q := h.newDirRequest(httptest.NewRequest(http.MethodGet, "/?txt", nil), &target{slash: true})
		q.format = render.Text
		q.snap = &published.Snapshot{Published: state.Published{State: wire.Watched}}
		require.NoError(t, h.look(q, h.tree.Root()))
		l, err := h.read(q, h.tree.Root())
		require.NoError(t, err)
		change(q, l)
		if !proves(q, l) {
			return nil
		}
		return h.pageOf(q, l)
	}
	require.NotNil(t, look(func(*dirRequest, *mtree.Listing) {}))
	require.Nil(t, look(func(_ *dirRequest, l *mtree.Listing) { l.Hot = true }))
	require.Nil(t, look(func(_ *dirRequest, l *mtree.Listing) { l.Stamp = l.Stamp.Add(1) }))
	require.Nil(t, look(func(q *dirRequest, _ *mtree.Listing) { q.snap.State = wire.Unwatched }))
}
