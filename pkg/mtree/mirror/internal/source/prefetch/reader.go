package prefetch

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// Reader reads an answer to ?since.
type Reader struct {
	in    *wire.SinceReader
	parts bool // it was asked for parts
	room  func(bytes int) error
	text  []byte // of the listing that was read last
}

// NewReader returns a reader of an answer, which may have parts of listings if it was asked for
// parts. room is called for the memory that the root's listing takes; its error ends the reading.
func NewReader(in io.Reader, parts bool, room func(bytes int) error) *Reader {
	return &Reader{in: wire.NewSinceReader(in), parts: parts, room: room}
}

// Root reads the listing of the root, which comes first. changed is false if the answer
// says that nothing changed: then there is no listing, but only the line that ends the
// answer. Errors wrap mtree.ErrListing, or are those of in or room.
func (r *Reader) Root() (l mtree.Listing, changed bool, err error) {
	path, block, err := r.in.Next()
	switch {
	case err == io.EOF:
		if _, ended := r.in.Trailer(); !ended {
			return l, false, mtree.ErrTruncated
		}
		return l, false, nil
	case err != nil:
		return l, false, err
	case path != "":
		return l, false, fmt.Errorf("%w: it does not begin with the directory that was asked for", mtree.ErrListing)
	}
	d := mtree.NewDecoder(block)
	d.Room, d.Parts = r.room, r.parts
	l, err = d.Next()
	return l, err == nil, err
}

// Read stores the listings that follow in s, except those larger than MaxKept. It returns
// nil at the end of the answer.
func (r *Reader) Read(ctx context.Context, s *Store) error {
	for {
		path, block, err := r.in.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			var size int
			if r.text, size, err = block.Text(r.text[:0], MaxKept); err == nil && size <= MaxKept && path != "" {
				s.keep(ctx, path, r.text)
			}
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// Cut reports whether the answer was cut, and after which path the next one must go on.
func (r *Reader) Cut() (after string, cut bool) {
	t, _ := r.in.Trailer()
	return t.After, t.More
}
