package remote

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An answer that only drips is given up, one that flows slowly is not.
func TestDrippingAnswers(t *testing.T) {
	for bytes, ends := range map[int]bool{1: true, 200: true, 400: false} { // a second
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			guard := &stallGuard{ReadCloser: io.NopCloser(&dripping{ctx, bytes}), stall: stallTimeout, most: stallBytes, cancel: cancel}
			guard.timer = time.AfterFunc(stallTimeout, cancel)
			buf := make([]byte, 4096)
			began := time.Now()
			for ctx.Err() == nil && time.Since(began) < time.Hour {
				_, _ = guard.Read(buf)
			}
			require.Equal(t, ends, ctx.Err() != nil, "%d bytes a second", bytes)
			if ends {
				require.LessOrEqual(t, time.Since(began), 2*stallTimeout)
			}
			guard.timer.Stop()
		})
	}
}

// A reader that takes its time, as with --bwlimit, is no reason to give up an
// answer that flows.
func TestASlowReaderIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		guard := &stallGuard{ReadCloser: io.NopCloser(&dripping{ctx, 4096}), stall: stallTimeout, most: stallBytes, cancel: cancel}
		guard.timer = time.AfterFunc(stallTimeout, cancel)
		guard.timer.Stop()
		for range 10 {
			_, err := guard.Read(make([]byte, 4096))
			require.NoError(t, err)
			<-time.After(2 * stallTimeout)
		}
		require.NoError(t, ctx.Err())
	})
}

// The body of a refusal that only drips, or never comes, kept each request for a minute, and
// a refused request is repeated: one such file kept a pass for four. Nobody needs that body.
func TestTheRestOfAnAnswerIsNotWaitedFor(t *testing.T) {
	for _, bytes := range []int{0, 1, 400} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			guard := &stallGuard{ReadCloser: io.NopCloser(&dripping{ctx, bytes}), stall: stallTimeout, most: stallBytes, cancel: cancel}
			guard.timer = time.AfterFunc(stallTimeout, cancel)
			began := time.Now()
			require.NoError(t, guard.Close())
			require.LessOrEqual(t, time.Since(began), 2*restTimeout)
		})
	}
}

// dripping gives some bytes each second.
type dripping struct {
	ctx   context.Context
	bytes int
}

func (d *dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return d.bytes, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}
