package mirror

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// A listing without an end took 1.5 GB before it had too many entries, and each job could
// read one. Now all of them together are bounded by the memory that they take.
func TestEndlessListingsTogether(t *testing.T) {
	begin := "1700000000.000000001 ./\t-\n"
	server := fastpathtest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Tidemark-Version", "1")
		h.Set("Tidemark-State", "watched")
		h.Set("Tidemark-Tree", "00112233445566778899aabbccddeeff")
		h.Set("Tidemark-Epoch", "1")
		out := bufio.NewWriterSize(w, 1<<20)
		_, err := out.WriteString(begin)
		if r.URL.Path == "/" {
			for i := range 8 {
				fmt.Fprintf(out, "1700000000.000000001 %d/\t-\n", i)
			}
			_, _ = out.WriteString("#end 8\n")
			_ = out.Flush()
			return
		}
		line := []byte("1.5 000000000\t1\n")
		for err == nil {
			_, err = out.Write(line)
			at := 12 // the next name
			for ; line[at] == '9'; at-- {
				line[at] = '0'
			}
			line[at]++
		}
	}))
	t.Cleanup(server.Close)
	b := newBench(t, server.URL)
	b.config.Log = nil
	b.config.largeRoom = 40 << 20
	var err error
	used := memoryOf(func() { err = b.once() })
	require.Equal(t, exit.Failed, exit.Of(err))
	require.ErrorContains(t, err, "40 MiB of memory")
	require.Contains(t, b.out.String(), "failed 8")
	require.Less(t, used, int64(250<<20))
}
