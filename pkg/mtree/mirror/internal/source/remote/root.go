package remote

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/mirror/internal/source/prefetch"
	"tidemark/pkg/mtree/wire"
)

// maxPrefetch is how much of an answer to ?since is read, in bytes. Listings beyond that
// are asked for one by one.
const maxPrefetch = 64 << 20

// Root asks for the root directory: one GET, and a second one if the server is not serve.
// How the root was last listed decides how List asks. Errors are those of package source;
// mtree.ErrListing where the answer is no listing; or *StatusError.
func (s *Source) Root(ctx context.Context, poll source.Poll) (source.Root, error) {
	s.prefetched.Clear()
	root, err := s.serveRoot(ctx, poll)
	if err != nil && isOther(&root, err) {
		if other, err := s.otherRoot(ctx, poll.Once); err == nil {
			s.other.Store(true)
			return other, nil
		}
	}
	if err == nil {
		s.other.Store(false)
		s.treePath.Store(&root.TreePath)
		s.rootOptions.Store(&root.Fingerprint)
		s.noteRoot(&root)
		root.Repeated = root.Answered != "" && root.Answered == s.answered
		s.answered = root.Answered
	}
	return root, err
}

// noteRoot marks a listing of the root as past if the source had read a later one when it
// was asked before. One that is said to be of the future proves nothing: the source's clock
// was wrong then.
func (s *Source) noteRoot(root *source.Root) {
	if root.Unchanged {
		return
	}
	is, was := &root.Listing, &s.newest
	later := root.Tree == s.newestTree && !was.Now.After(mtree.FromTime(time.Now().Add(time.Minute)))
	if later && is.HasNow && is.Now.Before(was.Now) && is.Stamp != was.Stamp {
		root.Past = true
		return
	}
	s.newest, s.newestTree = mtree.Listing{Stamp: is.Stamp, Now: is.Now}, root.Tree
}

// serveRoot asks serve for the root.
func (s *Source) serveRoot(ctx context.Context, poll source.Poll) (source.Root, error) {
	r := request{query: wire.ListingQuery{}.String(), header: map[string]string{}, once: poll.Once}
	if poll.Known != "" {
		r.header["If-None-Match"] = poll.Known
		if poll.Wait > 0 {
			r.wait, r.once = poll.Wait, true
			r.query = wire.ListingQuery{Since: poll.Since, Parts: poll.Parts && poll.Since != nil, Wait: poll.Wait}.String()
			if poll.Since != nil {
				return s.rootSince(ctx, poll, r)
			}
		}
	}
	var root source.Root
	err := s.turn.inTurn(ctx, func(room *room) error {
		resp, err := s.do(ctx, r)
		if err != nil {
			root = source.Root{}
			return err
		}
		defer resp.Body.Close()
		if root, err = head(resp); err != nil {
			return err
		}
		if root.Unchanged = resp.StatusCode == http.StatusNotModified; root.Unchanged {
			root.Validator = poll.Known
			return nil
		}
		root.Listing, err = readListing(resp, room)
		return err
	})
	return root, err
}

// rootSince asks for the root and all listings after poll.Since. It returns as soon as
// the root's listing is there. The others arrive while a pass uses them, until the next
// call of Root.
func (s *Source) rootSince(ctx context.Context, poll source.Poll, r request) (source.Root, error) {
	// The answer outlives the call: once the root's listing is there, ctx does not end it.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, stop)
	r.plain = s.near // on one machine, compressing takes a tenth of the time and saves nothing
	resp, err := s.do(life, r)
	if err != nil {
		stop()
		var status *StatusError
		if errors.As(err, &status) && status.Status == http.StatusGone {
			return s.serveRoot(ctx, source.Poll{Once: poll.Once})
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
	// The root is read between passes, when nobody else reads a listing.
	room := &room{turn: s.turn, large: true}
	reader := prefetch.NewReader(&bounded{resp.Body, maxPrefetch + maxListing}, poll.Parts, room.take)
	var changed bool
	root.Listing, changed, err = reader.Root()
	root.Unchanged = !changed
	if err != nil || !changed || !unlink() {
		end()
		return root, askedFor(resp, errors.Join(err, ctx.Err()))
	}
	root.Direct = true
	since := *poll.Since // the caller may change it while the answer still comes
	rest := wire.ListingQuery{Since: &since, Parts: poll.Parts}
	done := s.prefetched.Open(&root.Dir, poll.Parts, stop)
	go func() {
		defer done()
		s.readOn(life, reader, room, rest, &root.Dir)
		end()
	}()
	return root, nil
}

// readOn reads what follows the root's listing, and asks for the rest by that query if the answer
// was cut. It returns no error: what does not come is asked for when it is needed, and so is
// what comes from another tree, or from a serve with other options, than the beginning.
func (s *Source) readOn(ctx context.Context, r *prefetch.Reader, room *room, rest wire.ListingQuery, begun *source.Dir) {
	for before := ""; r.Read(ctx, &s.prefetched) == nil; {
		after, cut := r.Cut()
		if !cut || after == before {
			return
		}
		before, rest.After = after, after
		resp, err := s.do(ctx, request{query: rest.String(), once: true, plain: s.near})
		if err != nil {
			return
		}
		defer resp.Body.Close()
		if tree, err := treeOf(resp); err != nil || tree != begun.Tree || fingerprintOf(resp) != begun.Fingerprint { // guard: TestAnotherServeInMidAnswer
			return
		}
		r = prefetch.NewReader(&bounded{resp.Body, maxPrefetch}, rest.Parts, room.take)
	}
}
