package mirror

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
	"tidemark/pkg/mtree/wire"
)

// shrinking answers requests for d/f as serve does for a file that changes when half of it
// has been sent. become changes the file; sent is how many bytes have been sent before.
func shrinking(s *tree, b *bench, become func(sent int)) {
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}
		if r.URL.Path != "/d/f" || r.Method != http.MethodGet {
			return false
		}
		root, err := disk.OpenRoot(s.root)
		require.NoError(s.t, err)
		defer root.Close()
		d, err := root.OpenDirPath("d", false)
		require.NoError(s.t, err)
		defer d.Close()
		info, err := d.Stat("f")
		require.NoError(s.t, err)
		e := lister.EntryOf("f", info)
		w.Header().Set("Tidemark-Version", "1")
		w.Header().Set("ETag", wire.FileTagOf(&e).String())
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		sent := int(info.Size / 2)
		_, _ = io.WriteString(w, strings.Repeat("x", sent))
		_ = http.NewResponseController(w).Flush()
		become(sent)
		panic(http.ErrAbortHandler)
	})
}

// An answer that breaks off where the file now ends is the whole file. If the file has grown
// again meanwhile, it is read some more times, and that is not a failure either. If the file
// has not changed, the connection broke, and that is a failure.
func TestAnAnswerThatBreaksOffWhereTheFileEnds(t *testing.T) {
	setUp := func() (*tree, *bench) {
		s, b := overHTTP(t, "d/gone = x", "d/stays = x")
		b.equal(s)
		s.remove("d/gone")
		s.change("d/f = " + strings.Repeat("x", 100_000))
		return s, b
	}
	s, b := setUp()
	shrinking(s, b, func(sent int) { require.NoError(t, os.Truncate(s.path("d/f"), int64(sent))) })
	require.NoError(t, b.once())
	require.Contains(t, b.out.String(), "fetched 3 files", "once with each pass")
	now, err := os.Stat(s.path("d/f"))
	require.NoError(t, err)
	require.Len(t, b.read("d/f"), int(now.Size()))
	require.NoFileExists(t, b.path("d/gone"))
	record, _ := b.record("d")
	require.True(t, isUnfinished(record), "it is looked at again")

	s, b = setUp()
	var times atomic.Int64 // answers come from two of serve's goroutines
	shrinking(s, b, func(int) {
		at := mtree.Unix(1_700_000_000+times.Add(1), 0).Time()
		require.NoError(t, os.Chtimes(s.path("d/f"), time.Time{}, at))
	})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "failed 0,")
	require.NoFileExists(t, b.path("d/gone"))
	require.NoFileExists(t, b.path("d/f"))

	s, b = setUp()
	shrinking(s, b, func(int) {})
	require.Equal(t, exit.Failed, exit.Of(b.once()))
	require.Contains(t, b.out.String(), "failed 1,")
	require.FileExists(t, b.path("d/gone"), "unknown is not empty")
	require.NoFileExists(t, b.path("d/f"))
}
