package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// rootSince asks for the root and all that changed behind poll.Since. It returns
// as soon as the root's listing is there: what follows goes on coming while a
// pass uses it, until the root is asked for again.
func (s *httpSource) rootSince(ctx context.Context, poll source.Poll, r request) (source.Root, error) {
	// The answer outlives the question: from the root's listing on ctx does not
	// end it.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, stop)
	r.plain = s.near // compressing would take a tenth of the time and spare nothing
	resp, err := s.do(life, r)
	if err != nil {
		stop()
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusGone {
			return s.ourRoot(ctx, source.Poll{Once: poll.Once})
		}
		return source.Root{}, err
	}
	end := func() {
		_ = resp.Body.Close()
		stop()
	}
	root, err := head(resp)
	if err == nil && root.Validator == "" || resp.StatusCode == http.StatusNotModified {
		root.Validator = poll.Known
	}
	root.Unchanged = true
	if err != nil || resp.StatusCode == http.StatusNotModified {
		end()
		return root, err
	}
	// It comes between passes: nobody else reads any listing.
	reader := newSinceReader(&bounded{resp.Body, maxAhead + maxListing}, &room{turn: s.turn, large: true})
	var changed bool
	root.Listing, changed, err = reader.root()
	root.Unchanged = !changed
	if err != nil || !changed || !unlink() {
		end()
		return root, askedFor(resp, errors.Join(err, ctx.Err()))
	}
	one := &stream{stop: stop, ended: make(chan struct{}), tree: root.Tree}
	since := *poll.Since // the caller may move it on while the answer still comes
	s.ahead.open(one)
	go func() {
		defer close(one.ended)
		defer s.ahead.close()
		s.readOn(life, reader, since)
		end()
	}()
	return root, nil
}

// readOn reads what follows the root's listing, and asks for what was cut from
// it. Whatever goes wrong, what does not come is asked for when it is needed.
func (s *httpSource) readOn(ctx context.Context, r *sinceReader, since mtree.Stamp) {
	for before := ""; r.read(ctx, &s.ahead) == nil; {
		after, cut := r.cut()
		if !cut || after == before {
			return
		}
		before = after
		resp, err := s.do(ctx, request{
			query: wire.ListingQuery{Since: &since, After: after}.String(), once: true, plain: s.near,
		})
		if err != nil {
			return
		}
		defer resp.Body.Close()
		r = newSinceReader(&bounded{resp.Body, maxAhead}, r.room)
	}
}

// sinceReader reads an answer to ?since.
type sinceReader struct {
	*wire.SinceReader
	room *room  // for the root's listing
	text []byte // of the listing read last
}

func newSinceReader(in io.Reader, room *room) *sinceReader {
	return &sinceReader{SinceReader: wire.NewSinceReader(in), room: room}
}

// cut returns where the next answer goes on, if this one was cut.
func (r *sinceReader) cut() (after string, cut bool) {
	t, _ := r.Trailer()
	return t.After, t.More
}

// root reads the listing of the root, which comes first; there is none,
// but only the line that ends the answer, if nothing changed.
func (r *sinceReader) root() (l mtree.Listing, changed bool, err error) {
	path, block, err := r.Next()
	switch {
	case err == io.EOF:
		if _, ended := r.Trailer(); !ended {
			return l, false, mtree.ErrTruncated
		}
		return l, false, nil
	case err != nil:
		return l, false, err
	case path != "":
		return l, false, fmt.Errorf("%w: it does not begin with the directory that was asked for", mtree.ErrListing)
	}
	d := mtree.NewDecoder(block)
	d.Room = r.room.take
	l, err = d.Next()
	return l, err == nil, err
}

// read keeps the listings of an answer in h.
func (r *sinceReader) read(ctx context.Context, h *ahead) error {
	for {
		path, block, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			var size int
			if r.text, size, err = block.Text(r.text[:0], keptAhead); err == nil && size <= keptAhead && path != "" {
				h.keep(ctx, path, r.text)
			}
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}
