package remote

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source/autoindex"
)

// Listings of other servers whose text says little and unpacks to much.
func TestListingsOfOtherServersTakeRoom(t *testing.T) {
	for name, text := range map[string]string{
		"json": "[" + strings.Repeat("{},", 3<<20) + "{}]", "numbers": "[" + strings.Repeat("1,", 4<<20) + "1]",
		"html": strings.Repeat("<a href=a>", 1<<20), "xml": "<list>" + strings.Repeat("<file/>", 1<<20) + "</list>",
	} {
		r := room{turn: newLargeTurn(defaultLargeRoom), large: true}
		require.ErrorIs(t, r.take(autoindex.RoomFor([]byte(text))), mtree.ErrListing, name)
	}
	honest := strings.Repeat(`{ "name":"some-file-name", "type":"file", "mtime":"Sat, 03 Feb 2024 04:05:06 GMT", "size":123456 },`, 200_000)
	r := room{turn: newLargeTurn(defaultLargeRoom)}
	require.NoError(t, r.take(len(honest)+autoindex.RoomFor([]byte(honest))))
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
