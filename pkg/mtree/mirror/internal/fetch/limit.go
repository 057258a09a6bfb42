package fetch

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// limitedReader reads no faster than its limiter allows.
type limitedReader struct {
	ctx   context.Context
	in    io.Reader
	limit *rate.Limiter
}

// leastRead is the size of a small file, in bytes.
const leastRead = 4 << 10

// most is how many bytes are read at once: what the limiter allows in a millisecond.
// Streams take turns. A stream that took much each time would starve those with small
// files.
func (r *limitedReader) most() int {
	return min(r.limit.Burst(), max(leastRead, int(r.limit.Limit()/1000)))
}

func (r *limitedReader) Read(buf []byte) (int, error) {
	n, err := r.in.Read(buf[:min(len(buf), r.most())])
	if n > 0 {
		if waitErr := r.limit.WaitN(r.ctx, n); waitErr != nil {
			return n, waitErr
		}
	}
	return n, err
}
