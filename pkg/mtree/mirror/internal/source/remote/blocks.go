package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// noBlocksFor is how long a server is not asked for blocks again that does not know them, or
// answers nonsense. It may be replaced by a newer one meanwhile.
const noBlocksFor = time.Hour

// errNoBlocks says that the server gives no sums of blocks of a file.
var errNoBlocks = errors.New("the source gives no sums of blocks")

// blocksOf asks for the sums of the blocks of a file. With hot, they are all there even if the file
// changes meanwhile. The error is errNoBlocks if there is nothing to be said about it, and wraps
// wire.ErrBlocks if the answer makes no sense.
func (s *Source) blocksOf(ctx context.Context, path string, block int64, hot bool) (b wire.Blocks, err error) {
	of := wire.BlocksOf{Path: path, Block: block}
	r := request{query: wire.BlocksQuery, method: http.MethodPost, body: string(of.AppendLine(nil)), plain: true, patient: true}
	if hot {
		r.query = wire.HotBlocksQuery
	}
	resp, err := s.do(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && knowsNoBlocks(status) {
		s.leaveBlocks()
		return b, errNoBlocks
	}
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	b, err = wire.ReadBlocks(resp.Body, of)
	switch {
	case err == nil:
	case !isServe(resp):
		s.leaveBlocks()
		return b, errNoBlocks
	case errors.Is(err, wire.ErrNoBlocks): // it is gone, or may not be read: the fetch shows that
		return b, errNoBlocks
	case errors.Is(err, wire.ErrBlocks):
		s.leaveBlocks()
		return b, fmt.Errorf("POST %s: %w", resp.Request.URL.Redacted(), err)
	default: // the connection broke
		return b, fmt.Errorf("%w: %w", source.ErrMoved, err)
	}
	return b, nil
}

// leaveBlocks asks for no blocks for a while.
func (s *Source) leaveBlocks() { s.noBlocks.Store(time.Now().Add(noBlocksFor).Unix()) }

// knowsNoBlocks reports whether a server, or what stands before it, will answer each such request
// so: an earlier serve answers 405, others what they like.
func knowsNoBlocks(e *StatusError) bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout && e.Status != http.StatusUnauthorized ||
		e.Status == http.StatusNotImplemented
}

// mayPatch reports whether it is worth asking for the blocks of a file.
func (s *Source) mayPatch(w *source.Wanted) bool {
	now := time.Now().Unix()
	_, approx := w.Approx.Of(w.Name)
	return w.Old != nil && w.Size >= wire.LeastPatched && !approx && !s.other.Load() && now >= s.noPost.Load() &&
		now >= s.noBlocks.Load() // guard: TestAnEarlierServeIsAskedOnce
}

const (
	fewBlocks  = 256      // as many blocks are asked for where one may do
	manyBlocks = 64 << 10 // where many may differ
)

// blockFor returns the smallest size of blocks by which a file has at most this many, or the largest size.
func blockFor(size, blocks int64) int64 {
	block := int64(wire.LeastBlock)
	for block < wire.MostBlock && wire.CountBlocks(size, block) > blocks {
		block *= 2
	}
	return block
}
