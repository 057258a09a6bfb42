package serve_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// How much a tree has is told with the root in every format, with its 304, and by ?status; not with
// other directories, of which nobody counted it, and not where what is here came from elsewhere.
func TestEntriesAreTold(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/f": "x"})
	told := func(target string, header ...string) string {
		resp := s.get(target, header...)
		return resp.Header.Get("Tidemark-Entries")
	}
	require.Empty(t, told("/?txt"), "nobody counted")
	at := mtree.Unix(1706932800, 0)
	s.alterStatus(func(st *state.Status) {
		st.Entries = &state.Entries{Entries: wire.Entries{Files: 7, Directories: 2, Bytes: 1234}, At: &at}
	})
	require.Eventually(t, func() bool { return told("/?txt") != "" }, 10*time.Second, time.Millisecond)
	for _, target := range []string{"/?txt", "/?json", "/?html", "/", "/?txt&since=1.0"} {
		require.Equal(t, "7 2 1234", told(target), target)
	}
	first := s.get("/?txt")
	again := s.get("/?txt", "If-None-Match", first.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.StatusCode)
	require.Equal(t, "7 2 1234", again.Header.Get("Tidemark-Entries"))
	require.Empty(t, told("/a/?txt"))
	require.Empty(t, told("/a/f"))

	var status struct{ Entries state.Entries }
	require.NoError(t, json.Unmarshal([]byte(s.get("/?status").body), &status))
	require.Equal(t, state.Entries{Entries: wire.Entries{Files: 7, Directories: 2, Bytes: 1234}, At: &at}, status.Entries)

	s.alterTree(func(tree *state.Tree) { tree.Inode++ })
	require.Eventually(t, func() bool { return told("/?txt") == "" }, 10*time.Second, time.Millisecond)
}
