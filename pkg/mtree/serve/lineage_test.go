package serve_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// Every listing says which directory of the tree it is, also where the tree is a
// copy of a part of another. A copy that was not told says nothing.
func TestPathInTheTree(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a b/c/f": "x"})
	path := func(target string) string { return s.get(target).Header.Get("Tidemark-Path") }
	require.Equal(t, "/", path("/?txt"))
	require.Equal(t, "/a%20b/c", path("/a%20b/c/?txt"))
	require.Contains(t, s.get("/?status").body, `"path": "/"`)
	s.alterTree(func(tree *state.Tree) { tree.Role, tree.Path = state.Copy, "/up" })
	s.get("/?status") // reads what .tidemark says anew
	require.Equal(t, "/up", path("/?txt"))
	require.Equal(t, "/up/a%20b", path("/a%20b/?json"))
	s.alterTree(func(tree *state.Tree) { tree.Path = "" })
	s.get("/?status") // reads what .tidemark says anew
	require.Empty(t, path("/?txt"), "a copy that was not told")
	require.Empty(t, path("/a%20b/?txt"))
}

// Without an id of the tree no listing said which directory it is of: a proxy that gave the
// page of the root for each path made an endless tree of it.
func TestPathInAnUnwatchedTree(t *testing.T) {
	s := publish(t, serve.Config{}, map[string]string{"a b/c/f": "x"})
	for target, want := range map[string]string{"/?txt": "/", "/a%20b/?json": "/a%20b", "/a%20b/c/?txt": "/a%20b/c"} {
		h := s.get(target).Header
		require.Equal(t, want, h.Get("Tidemark-Path"))
		require.Empty(t, h.Get("Tidemark-Tree"))
	}
}

// A file says which one it is: two files may have the same size and times, and so the same ETag.
func TestPathOfAFile(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a b/c/f": "x", "g": "y"})
	for target, want := range map[string]string{"/g": "/g", "/a%20b/c/f": "/a%20b/c/f", "/a%20b//c/f": "/a%20b/c/f"} {
		require.Equal(t, want, s.get(target).Header.Get("Tidemark-Path"), target)
	}
}

// The root names the runs of its watch, in its 304 too; the list always has the run that
// set the stamp which is shown.
func TestRunsAreTold(t *testing.T) {
	s := publishWatched(t, serve.Config{}, map[string]string{"a/f": "x"})
	require.Empty(t, s.get("/?txt").Header.Get("Tidemark-Runs"))
	floor := mtree.Unix(1_000_000_000, 5)
	s.alterTree(func(tree *state.Tree) {
		tree.Runs = []wire.Run{{ID: "00000000000000a1", Floor: &floor}, {ID: "00000000000000a2"}}
	})
	s.stamp("", machine.Now())
	const want = "00000000000000a1 1000000000.000000005, 00000000000000a2 -"
	a := s.get("/?txt")
	require.Equal(t, want, a.Header.Get("Tidemark-Runs"))
	again := s.get("/?txt", "If-None-Match", a.Header.Get("Etag"))
	require.Equal(t, http.StatusNotModified, again.StatusCode)
	require.Equal(t, want, again.Header.Get("Tidemark-Runs"))
	require.Empty(t, s.get("/a/?txt").Header.Get("Tidemark-Runs"))
	require.Contains(t, s.get("/?status").body, `"run": "00000000000000a2"`)
	for range 20 { // each stamp with the run that gave it
		s.alterTree(func(tree *state.Tree) { tree.BeginRun(floor) })
		s.stamp("", machine.Now())
		runs := wire.ParseRuns(s.get("/?txt").Header.Get("Tidemark-Runs"))
		require.Equal(t, s.readTree().Runs, runs)
	}
}

func (s *site) readTree() (tree state.Tree) {
	s.alterTree(func(t *state.Tree) { tree = *t })
	return tree
}
