package remote

import (
	"context"
	"fmt"
	"io"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// List asks for a directory: one GET, or none if the listing came with the last answer to
// ?since, of which it takes each but once. A listing older than least, the stamp that its parent
// lists, comes from a cache; a later one may, with a stamp that somebody set ahead: then List
// asks once more, past every cache, as it does where least is source.Fresh. If the listing is
// older all the same, it is marked as past. Errors are those of Root.
func (s *Source) List(ctx context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	if l, ok := s.prefetched.Take(ctx, path, least); ok {
		return l, nil
	}
	if s.other.Load() {
		l, err := s.otherListing(ctx, path, least)
		if err != errServe {
			return l, err
		}
	}
	l, err := s.serveListing(ctx, path, least == source.Fresh)
	known := least != source.Fresh && least != mtree.Stamp{}
	if err == nil && known && l.Stamp != least { // guard (l.Stamp != least -> l.Stamp.Before(least)): TestALaterListingComesPastCaches
		l, err = s.serveListing(ctx, path, true)
		l.Past = l.Stamp.Before(least)
	}
	return l, err
}

// serveListing asks serve for a directory; with fresh, past every cache.
func (s *Source) serveListing(ctx context.Context, path string, fresh bool) (l source.Dir, err error) {
	r := request{path: wire.DirURLPath(path), query: wire.ListingQuery{}.String(), header: map[string]string{}, plain: s.near}
	if fresh {
		r.header["Cache-Control"] = "no-cache"
		r.pastCaches() // guard: TestALaterListingComesPastCaches
	}
	l.Direct = fresh
	err = s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.doDenied(ctx, r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if l.Tree, err = treeOf(resp); err != nil {
			return err
		}
		l.Fingerprint = fingerprintOf(resp)
		if l.Listing, err = readListing(resp, room); err == nil {
			if is := s.otherThan(resp, path); is != "" {
				err = askedFor(resp, fmt.Errorf("%w: it is of %q", mtree.ErrListing, is))
			}
		}
		return err
	})
	return l, err
}

// maxPart is the most of a part that is read, in bytes: 1,000 names with their attributes.
const maxPart = 4 << 20

// Part asks which names changed in a directory since a stamp: one GET, which no cache answers. serve
// may, out of what it has under the directory's present times. It returns source.ErrNoPart if there
// is nothing to tell, or nothing yet; source.ErrWhole if a whole listing came, which is not read.
func (s *Source) Part(ctx context.Context, path string, since mtree.Stamp) (part source.Dir, err error) {
	if s.other.Load() {
		return part, source.ErrWhole
	}
	r := request{
		path: wire.DirURLPath(path), query: wire.ListingQuery{Since: &since, Parts: true}.String(),
		once: true, plain: s.near,
	}
	r.pastCaches()
	resp, err := s.do(ctx, r)
	if err != nil {
		return part, err
	}
	defer resp.Body.Close()
	if is := s.otherThan(resp, path); is != "" { // guard: TestPart
		return part, askedFor(resp, fmt.Errorf("%w: it is of %q", mtree.ErrListing, is))
	}
	part.Direct, part.Fingerprint = true, fingerprintOf(resp)
	if part.Tree, err = treeOf(resp); err != nil {
		return part, err
	}
	of, block, err := wire.NewSinceReader(&bounded{resp.Body, maxPart}).Next()
	switch {
	case err == io.EOF, err == nil && of != "":
		return part, source.ErrNoPart
	case err != nil:
		return part, askedFor(resp, err)
	case !block.IsPart():
		return part, source.ErrWhole
	}
	d := mtree.NewDecoder(block)
	d.Parts = true
	part.Listing, err = d.Next()
	return part, askedFor(resp, err)
}
