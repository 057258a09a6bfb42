package remote

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// The rest of a file that broke off is taken only from the file that was listed.
func TestTheRestOfAnotherFile(t *testing.T) {
	size := int64(8<<20 + 10)
	e := &source.Wanted{Entry: &mtree.Entry{Name: "f", Size: size, MTime: mtree.Unix(5, 0), CTime: mtree.Unix(6, 0), Has: mtree.HasCTime}, Path: "f"}
	for name, tc := range map[string]struct {
		tag, span string
		ok        bool
	}{
		"right":          {wire.FileTagOf(e.Entry).String(), fmt.Sprintf("bytes 10-%d/%d", size-1, size), true},
		"another file":   {`"5.000000000-1-7.000000000"`, fmt.Sprintf("bytes 10-%d/%d", size-1, size), false},
		"no tag":         {"", fmt.Sprintf("bytes 10-%d/%d", size-1, size), false},
		"another length": {wire.FileTagOf(e.Entry).String(), fmt.Sprintf("bytes 10-%d/%d", size, size+1), false},
		"not to the end": {wire.FileTagOf(e.Entry).String(), fmt.Sprintf("bytes 10-%d/%d", size-2, size), false},
		"another part":   {wire.FileTagOf(e.Entry).String(), fmt.Sprintf("bytes 11-%d/%d", size-1, size), false},
		"backwards":      {wire.FileTagOf(e.Entry).String(), fmt.Sprintf("bytes %d-%d/%d", size, size-1, size), false},
		"nonsense":       {wire.FileTagOf(e.Entry).String(), "bytes */1", false},
	} {
		req := httptest.NewRequest(http.MethodGet, "/f", nil)
		resp := &http.Response{Request: req, Header: http.Header{"Etag": {tc.tag}, "Content-Range": {tc.span}}, Body: http.NoBody}
		_, ok := restOf(resp, e, 10)
		require.Equal(t, tc.ok, ok, name)
	}
}
