package remote

import (
	"fmt"
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// isOf returns an error if an answer says that it is of another file or directory than the
// one at path. A proxy that mixes up answers would have everything deleted that the other
// directory lacks, or a file stored with the bytes of another.
func (s *Source) isOf(resp *http.Response, path string) error {
	root, is := s.treePath.Load(), wire.ParseTreePath(resp.Header.Get(wire.HeaderPath))
	if root == nil || *root == "" || is == "" {
		return nil // it does not say so
	}
	want := *root
	if path != "" {
		want = strings.TrimSuffix(want, "/") + "/" + path
	}
	if is != want {
		return fmt.Errorf("%w: it is of %q", mtree.ErrListing, is)
	}
	return nil
}
