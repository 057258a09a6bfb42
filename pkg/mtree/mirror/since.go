package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// listSince asks for the root and all that changed behind ask.since. It returns
// as soon as the root's listing is there: what follows goes on coming while a
// pass uses it, until the root is asked for again.
func (s *httpSource) listSince(ctx context.Context, ask ask, r request) (answer, error) {
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
			return s.ourListing(ctx, ask.plain())
		}
		return answer{}, err
	}
	end := func() {
		_ = resp.Body.Close()
		stop()
	}
	a, err := head(resp)
	if err == nil && a.validator == "" {
		a.validator = ask.known
	}
	if resp.StatusCode == http.StatusNotModified {
		a.validator = ask.known
	}
	a.unchanged = true
	if err != nil || resp.StatusCode == http.StatusNotModified {
		end()
		return a, err
	}
	// It comes between passes: nobody else reads any listing.
	reader := newSinceReader(&bounded{resp.Body, maxAhead + maxListing}, &room{turn: s.turn, large: true})
	err = reader.root(&a)
	if err != nil || a.unchanged || !unlink() {
		end()
		return a, askedFor(resp, errors.Join(err, ctx.Err()))
	}
	one := &stream{stop: stop, ended: make(chan struct{})}
	since := *ask.since // the caller may move it on while the answer still comes
	s.ahead.open(one)
	go func() {
		defer close(one.ended)
		defer s.ahead.close()
		s.readOn(life, reader, since)
		end()
	}()
	return a, nil
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

// root reads the listing of the root, which comes first, into a; there is none,
// but only the line that ends the answer, if nothing changed.
func (r *sinceReader) root(a *answer) error {
	path, block, err := r.Next()
	switch {
	case err == io.EOF:
		if _, ended := r.Trailer(); !ended {
			return mtree.ErrTruncated
		}
		return nil
	case err != nil:
		return err
	case path != "":
		return fmt.Errorf("%w: it does not begin with the directory that was asked for", mtree.ErrListing)
	}
	d := mtree.NewDecoder(block)
	d.Room = r.room.take
	a.listing, err = d.Next()
	a.unchanged = err != nil
	return err
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
