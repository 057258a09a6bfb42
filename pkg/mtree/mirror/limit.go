package mirror

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// limitedReader reads no faster than its limiter lets it.
type limitedReader struct {
	ctx   context.Context
	in    io.Reader
	limit *rate.Limiter
}

func (r *limitedReader) Read(buf []byte) (int, error) {
	if most := r.limit.Burst(); len(buf) > most {
		buf = buf[:most]
	}
	n, err := r.in.Read(buf)
	if n > 0 {
		if waitErr := r.limit.WaitN(r.ctx, n); waitErr != nil {
			return n, waitErr
		}
	}
	return n, err
}
