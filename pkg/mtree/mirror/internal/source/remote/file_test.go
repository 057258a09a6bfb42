package remote

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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
		resp := &http.Response{Request: req, ContentLength: -1, Header: http.Header{"Etag": {tc.tag}, "Content-Range": {tc.span}}, Body: http.NoBody}
		_, ok := restOf(resp, e, 10)
		require.Equal(t, tc.ok, ok, name)
	}
}

// A file that serve found behind a symlink is gone from its path, whichever version is wanted.
// Of another server Content-Location says nothing: it may have that with any file.
func TestAFileBehindASymlinkIsGone(t *testing.T) {
	e := mtree.Entry{Name: "f", Kind: mtree.File, Size: 3, MTime: mtree.Unix(5, 0), CTime: mtree.Unix(6, 0), Has: mtree.HasCTime}
	for name, tc := range map[string]struct {
		at      string
		byServe bool
		gone    bool
	}{
		"behind a symlink": {"./g", true, true},
		"a file":           {"", true, false},
		"another server's": {"/f", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", wire.FileTagOf(&e).String())
				if tc.at != "" {
					w.Header().Set("Content-Location", tc.at)
				}
				if tc.byServe {
					w.Header().Set(wire.HeaderVersion, wire.Version)
				}
				_, _ = w.Write([]byte("abc"))
			}))
			defer server.Close()
			s, err := Open(Config{URL: server.URL})
			require.NoError(t, err)
			defer s.Close()
			for _, d := range []source.Demand{source.AsListed, source.AsFound, source.AsIs} {
				f, err := s.open(t.Context(), &source.Wanted{Entry: &e, Path: "f"}, d)
				if tc.gone {
					require.ErrorIs(t, err, source.ErrGone)
					require.ErrorContains(t, err, "./g")
					continue
				}
				require.NoError(t, err)
				f.Close()
			}
		})
	}
}

// A proxy packed the rest of a large file that broke off: the packed bytes were put behind the
// first part, and what was missing after them was asked for. The file was torn, under the
// right stamp.
func TestARestInACoding(t *testing.T) {
	e := mtree.Entry{Name: "f", Kind: mtree.File, Size: 9, MTime: mtree.Unix(5, 0), CTime: mtree.Unix(5, 0), Has: mtree.HasCTime}
	answer := func(coding string, length int64) *http.Response {
		return &http.Response{ContentLength: length, Body: http.NoBody, Header: http.Header{
			"Content-Range": {"bytes 4-8/9"}, "Etag": {wire.FileTagOf(&e).String()}, "Content-Encoding": {coding},
		}}
	}
	for coding, is := range map[string]bool{"": true, "identity": true, "gzip": false, "br": false} {
		for length, fits := range map[int64]bool{-1: true, 5: true, 4: false, 6: false} {
			_, ok := restOf(answer(coding, length), &source.Wanted{Entry: &e}, 4)
			require.Equal(t, is && fits, ok, "%q, %d", coding, length)
		}
	}
}

// A cache had kept that serve could not read a file and a directory. Both could be read by then, and
// the directory above was complete without them.
func TestARefusalOutOfACache(t *testing.T) {
	e := mtree.Entry{Name: "f", Kind: mtree.File, Size: 3, MTime: mtree.Unix(5, 0), CTime: mtree.Unix(6, 0), Has: mtree.HasCTime}
	for name, isDenied := range map[string]bool{"by the cache": false, "by serve": true} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h, fresh := w.Header(), r.URL.Query().Has("fresh")
				asked = append(asked, fmt.Sprint(r.URL.Path, " ", fresh))
				h.Set(wire.HeaderVersion, wire.Version)
				h.Set(wire.HeaderTree, strings.Repeat("0a", 16))
				h.Set(wire.HeaderEpoch, "7")
				switch {
				case isDenied, !fresh:
					w.WriteHeader(http.StatusForbidden)
				case r.URL.Path == "/d/":
					_, _ = w.Write(mtree.AppendListing(nil, mtree.Listing{Stamp: mtree.Unix(7, 0)}))
				default:
					h.Set("ETag", wire.FileTagOf(&e).String())
					_, _ = fmt.Fprint(w, "abc")
				}
			}))
			defer server.Close()
			s, err := Open(Config{URL: server.URL})
			require.NoError(t, err)
			errs := map[string]error{}
			for _, f := range s.Fetch(t.Context(), []source.Wanted{{Entry: &e, Path: "f"}}) {
				errs["f"] = f.Err
			}
			_, errs["d"] = s.List(t.Context(), "d", mtree.Stamp{})
			for what, err := range errs {
				if isDenied {
					require.ErrorIs(t, err, source.ErrDenied, what)
				} else {
					require.NoError(t, err, what)
				}
			}
			require.Equal(t, []string{"/f false", "/f true", "/d/ false", "/d/ true"}, asked)
		})
	}
}
