package state

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The path of a source whose name is not UTF-8 lost its bytes in the tree file: each later start
// took the source for another directory.
func TestTextsThatAreNotUTF8(t *testing.T) {
	for _, text := range []string{"", "/", "/a b/ü%", "/caf\xe9", "/\xff\xfe\n/b", "/caf\ufffd", "\xe9\ufffd"} {
		was := Tree{ID: NewTreeID(), Path: text, Upstream: text, Place: text, Adopted: text, Options: text, Filters: []string{"- " + text, "- b"}, Sources: []string{text, "/b"}}
		data, err := json.Marshal(was)
		require.NoError(t, err)
		var is Tree
		require.NoError(t, json.Unmarshal(data, &is))
		require.Equal(t, was, is)
		require.Equal(t, "- "+text, was.Filters[0], "nothing of the original changes")
		require.Equal(t, text, was.Sources[0])
	}
	// The path of a directory with U+FFFD in its name, as failed conversions leave it, was forgotten by
	// each start: a copy of it could become one of another directory, and lost what that one lacks.
	require.False(t, Tree{Path: "/caf\ufffd"}.Same(Tree{Path: "/caf\xe9"}))
	require.False(t, Tree{Path: "/caf\xe8"}.Same(Tree{Path: "/caf\xe9"}))

	var is Tree
	require.NoError(t, json.Unmarshal([]byte(`{"path": "/caf\ufffd"}`), &is))
	require.Empty(t, is.Path, "written before: it is not known")
	require.Error(t, json.Unmarshal([]byte(`{"place": "\u0000%"}`), &is))
	require.Error(t, json.Unmarshal([]byte(`{"place": 5}`), &is))
}
