package serve_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve"
	"tidemark/pkg/mtree/wire"
)

// retyping puts each of the things in turn under name, by rename, until the test
// ends: it is there at every moment, and never the same for long.
func (s *site) retyping(name string, things ...string) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			from := s.path("spare/" + things[i%len(things)])
			aside := s.path("spare/aside")
			var err error
			if strings.HasPrefix(things[i%len(things)], "link") {
				err = os.Symlink("../aim", aside)
			} else {
				err = os.Link(from, aside)
			}
			if err == nil {
				err = os.Rename(aside, s.path(name))
			}
			if err != nil {
				panic(err)
			}
		}
	})
	s.Cleanup(func() { close(stop); done.Wait() })
}

// A symlink replaced by a file between statx and readlinkat was EINVAL, which counted
// as absent: 22 to 69 of 600 listings were 404, of a directory that was there.
// The same of a file by its own URL, and in bulk.
func TestTypeChangesUnderTheReader(t *testing.T) {
	for _, state := range []wire.State{wire.Watched, wire.Unwatched} {
		s := publish(t, serve.Config{Root: inMemory(t), Tar: true}, map[string]string{"d/x": "file", "aim": "link", "spare/file": "file"})
		if state == wire.Watched {
			watched(t, s.root, wire.Watched)
			s.start()
		}
		s.retyping("d/x", "file", "link")
		for range 300 {
			for _, query := range []string{"txt", "json", "html"} {
				a := s.get("/d/?" + query)
				require.Equal(t, 200, a.StatusCode, a.body)
				if query != "txt" {
					require.Contains(t, a.body, `"x"`, "%s: what it leads to is there", query)
				} else if l, err := mtree.ParseListing([]byte(a.body)); !l.Hot {
					require.NoError(t, err)
					require.Equal(t, []string{"x"}, names(l))
				}
			}
			a := s.get("/d/x")
			require.Equal(t, 200, a.StatusCode)
			require.Contains(t, []string{"file", "link"}, a.body)
		}
		require.Equal(t, 200, s.do(http.MethodPost, "/?sums", strings.NewReader("d/x\n")).StatusCode)
	}
}
