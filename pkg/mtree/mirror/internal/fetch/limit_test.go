package fetch

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

// --bwlimit is kept, however much is read at once.
func TestBWLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		in := &limitedReader{t.Context(), bytes.NewReader(make([]byte, 1<<20)), rate.NewLimiter(100<<10, 64<<10)}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, in, make([]byte, 256<<10))
		require.NoError(t, err)
		require.EqualValues(t, 1<<20, n)
		require.InDelta(t, 9.6, time.Since(began).Seconds(), 0.1)
	})
}

// A large file takes no more than its share from small ones.
func TestBWLimitIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := rate.NewLimiter(1<<20, 100<<10)
		var large atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			in, buf := &limitedReader{ctx, endless{}, limiter}, make([]byte, 256<<10)
			for ctx.Err() == nil {
				n, _ := in.Read(buf)
				large.Add(int64(n))
			}
		}()
		for range 1000 {
			small := &limitedReader{t.Context(), strings.NewReader(strings.Repeat("x", 4000)), limiter}
			_, err := io.Copy(io.Discard, small)
			require.NoError(t, err)
		}
		cancel()
		<-ended
		require.Less(t, large.Load(), int64(5_000_000), "beside 4,000,000 bytes of small files")
	})
}

// endless is read without an end.
type endless struct{}

func (endless) Read(buf []byte) (int, error) { return len(buf), nil }

// A read is no longer than its buffer, and a stop is told.
func TestAReadUnderALimit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in := &limitedReader{ctx, endless{}, rate.NewLimiter(1<<20, 1<<20)}
	n, err := in.Read(make([]byte, 10, 1<<10))
	require.NoError(t, err)
	require.Equal(t, 10, n)
	cancel()
	_, err = in.Read(make([]byte, 10))
	require.ErrorIs(t, err, context.Canceled)
}
