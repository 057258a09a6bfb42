package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/wire"
)

func TestTreePath(t *testing.T) {
	for text, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a%20b": "/a b", "": "", "a": "", "/a/../b": "", "//": "", "/a/": "", "/%2": "", "/.tidemark": "",
	} {
		require.Equal(t, want, wire.ParseTreePath(text), "%q", text)
	}
}
