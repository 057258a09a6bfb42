package remote

import (
	"context"
	"io"
	"time"
)

// stallGuard ends a request whose answer stops flowing, or only drips. It counts only the
// time spent waiting for the answer, not the time that the reader takes: with --bwlimit
// that may be minutes.
type stallGuard struct {
	io.ReadCloser
	timer  *time.Timer
	stall  time.Duration
	most   int           // the answer gets another stall for each of these, in bytes
	got    int           // bytes since then
	spent  time.Duration // waiting since then
	cancel context.CancelFunc
}

func (g *stallGuard) Read(buf []byte) (int, error) {
	began := time.Now()
	g.timer.Reset(g.stall - g.spent)
	n, err := g.ReadCloser.Read(buf)
	g.timer.Stop()
	g.spent += time.Since(began)
	if g.got += n; g.got >= g.most {
		g.got, g.spent = 0, 0
	}
	return n, err
}

// restTimeout is how long the rest of an answer is waited for that nobody needs.
const restTimeout = time.Second

// Close reads up to 4 KiB of what is left, so that the connection can be used again, and
// ends the request. It waits no longer than restTimeout: the rest may only drip.
func (g *stallGuard) Close() error {
	g.timer.Reset(restTimeout)
	_, _ = io.CopyN(io.Discard, g.ReadCloser, 4<<10)
	g.timer.Stop()
	err := g.ReadCloser.Close()
	g.cancel()
	return err
}
