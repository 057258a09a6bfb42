package mirror

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/fastpath/fastpathtest"
)

// One listing without an end took 1.5 GB before its entries were too many, and each
// job could read one. They are bounded by the memory they take, all together.
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

// Foreign listings whose text says little and unpacks to much.
func TestForeignListingsTakeRoom(t *testing.T) {
	for name, text := range map[string]string{
		"json": "[" + strings.Repeat("{},", 3<<20) + "{}]", "numbers": "[" + strings.Repeat("1,", 4<<20) + "1]",
		"html": strings.Repeat("<a href=a>", 1<<20), "xml": "<list>" + strings.Repeat("<file/>", 1<<20) + "</list>",
	} {
		r := room{turn: newLargeTurn(defaultLargeRoom), large: true}
		require.ErrorIs(t, r.take(foreignRoom([]byte(text))), mtree.ErrListing, name)
	}
	honest := strings.Repeat(`{ "name":"some-file-name", "type":"file", "mtime":"Sat, 03 Feb 2024 04:05:06 GMT", "size":123456 },`, 200_000)
	r := room{turn: newLargeTurn(defaultLargeRoom)}
	require.NoError(t, r.take(len(honest)+foreignRoom([]byte(honest))))
	_, err := htmlRows([]byte("<a " + strings.Repeat("href=x ", maxTag) + ">"))
	require.Error(t, err, "a page that is cut at a tag is not whole")
}

// Of those who read large listings one has the turn; the others begin anew when they
// have it, and nobody keeps it.
func TestLargeListingsTakeTurns(t *testing.T) {
	turn := newLargeTurn(defaultLargeRoom)
	var at, most, tries atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := turn.inTurn(t.Context(), func(r *room) error {
				tries.Add(1)
				if err := r.take(smallRoom); err != nil {
					return err
				}
				if err := r.take(1); err != nil {
					return err
				}
				for now := at.Add(1); ; {
					if was := most.Load(); now <= was || most.CompareAndSwap(was, now) {
						break
					}
				}
				at.Add(-1)
				return io.ErrUnexpectedEOF
			})
			require.Equal(t, io.ErrUnexpectedEOF, err)
		})
	}
	all.Wait()
	require.EqualValues(t, 1, most.Load())
	require.GreaterOrEqual(t, tries.Load(), int32(8))
	require.Empty(t, turn.held)
	turn.held <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := turn.inTurn(ctx, func(r *room) error { return r.take(smallRoom + 1) })
	require.True(t, errors.Is(err, context.Canceled), "%v", err)
}
