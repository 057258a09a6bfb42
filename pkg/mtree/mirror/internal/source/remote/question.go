package remote

import (
	"net/http"
	"strings"

	"tidemark/pkg/mtree/wire"
)

// otherThan returns the path that an answer says it is of, if that is not the one that was
// asked for; "" otherwise. A proxy that mixes up answers would have everything deleted that
// the other directory lacks, or a file stored with the bytes of another.
func (s *Source) otherThan(resp *http.Response, path string) string {
	root, is := s.treePath.Load(), wire.ParseTreePath(resp.Header.Get(wire.HeaderPath))
	if root == nil || *root == "" || is == "" {
		return "" // it does not say so
	}
	want := *root
	if path != "" {
		want = strings.TrimSuffix(want, "/") + "/" + path
	}
	if is == want {
		return ""
	}
	return is
}
