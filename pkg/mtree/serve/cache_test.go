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
	look := func(change func(*view, *mtree.Listing)) *pages.Page {
		v := h.newView(httptest.NewRequest(http.MethodGet, "/?txt", nil), &target{slash: true})
		v.format = render.Text
		v.snap = &snapshot{Published: state.Published{State: wire.Watched}}
		require.NoError(t, h.look(v, h.tree.root))
		l, err := h.read(v, h.tree.root)
		require.NoError(t, err)
		change(v, l)
		if !proves(v, l) {
			return nil
		}
		return h.pageOf(v, l)
	}
	require.NotNil(t, look(func(*view, *mtree.Listing) {}))
	require.Nil(t, look(func(_ *view, l *mtree.Listing) { l.Hot = true }))
	require.Nil(t, look(func(_ *view, l *mtree.Listing) { l.Stamp = l.Stamp.Add(1) }))
	require.Nil(t, look(func(v *view, _ *mtree.Listing) { v.snap.State = wire.Unwatched }))
}
