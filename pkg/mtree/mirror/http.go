package mirror

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/wire"
)

// httpSource is a tree published by serve, or by a program that speaks the same
// protocol (docs/protocol.md), or by a server of another kind.
type httpSource struct {
	*client
	ahead   ahead        // listings that came with an answer to ?since
	foreign atomic.Bool  // the root was listed by a server of another kind last
	noPost  atomic.Int64 // until when nothing is posted, Unix seconds: a proxy refuses it
	zones   zones        // of a server of another kind
	turn    largeTurn
}

// Bounds of what an answer may be. Beyond them it is an error, never cut.
const (
	maxListing = 512 << 20 // bytes of one listing, after decompression
)

func openHTTP(c *Config) (*httpSource, error) {
	u, err := url.Parse(c.Source)
	if err != nil || !isURL(c.Source) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, exit.With(exit.Usage, fmt.Errorf("bad SOURCE %q", redacted(c.Source)), "want http(s)://host[:port]/dir/")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return &httpSource{client: newClient(c, u.String()), turn: newLargeTurn(c.largeRoom)}, nil
}

func (s *httpSource) close() {
	s.ahead.clear()
	s.closeIdle()
}

// list implements source: one GET, or none if the listing came with the last
// answer to ?since. Each answer says what kind of server it comes from. The root
// is asked for as serve is asked, which costs another GET for servers that are
// not ours; what is below it, as the root was listed last.
func (s *httpSource) list(ctx context.Context, ask ask) (answer, error) {
	if ask.path != "" && s.foreign.Load() {
		a, err := s.foreignListing(ctx, ask)
		if err == errOurs {
			a, err = s.ourListing(ctx, ask)
		}
		return a, err
	}
	a, err := s.ourListing(ctx, ask)
	if ask.path != "" {
		return a, err
	}
	if err != nil && notOurs(&a, err) {
		if foreign, err := s.foreignListing(ctx, ask); err == nil {
			s.foreign.Store(true)
			return foreign, nil
		}
	}
	if err == nil {
		s.foreign.Store(false)
	}
	return a, err
}

func (s *httpSource) ourListing(ctx context.Context, ask ask) (answer, error) {
	if ask.path == "" {
		s.ahead.clear()
	} else if l, ok := s.ahead.take(ctx, &ask); ok {
		return answer{listing: l, ahead: true}, nil
	}
	r := request{path: wire.DirURLPath(ask.path), query: wire.ListingQuery{}.String(), header: map[string]string{}, once: ask.once}
	if ask.fresh {
		r.header["Cache-Control"] = "no-cache"
	}
	if ask.known != "" {
		r.header["If-None-Match"] = ask.known
		if ask.wait > 0 {
			r.wait, r.once = ask.wait, true
			r.query = wire.ListingQuery{Since: ask.since, Wait: ask.wait}.String()
		}
	}
	if ask.known != "" && ask.wait > 0 && ask.since != nil {
		return s.listSince(ctx, ask, r)
	}
	var a answer
	err := s.turn.inTurn(ctx, func(room *room) (err error) {
		a, err = s.listOne(ctx, ask, r, room)
		return err
	})
	return a, err
}

// listOne is one GET of a listing.
func (s *httpSource) listOne(ctx context.Context, ask ask, r request, room *room) (answer, error) {
	resp, err := s.do(ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a, err := head(resp)
	if err != nil {
		return a, err
	}
	if a.unchanged = resp.StatusCode == http.StatusNotModified; a.unchanged {
		a.validator = ask.known
		return a, nil
	}
	return a, parseOne(resp, &a, room)
}

// plain is the same question without what an answer of 410 refuses.
func (a ask) plain() ask { return ask{path: a.path, least: a.least, fresh: a.fresh, once: a.once} }

// head reads what a tree says of itself in the header of an answer.
func head(resp *http.Response) (answer, error) {
	h := resp.Header
	a := answer{
		validator: h.Get("ETag"), state: wire.State(h.Get(wire.HeaderState)), treeID: h.Get(wire.HeaderTree),
		dialect: h.Get("Server"), chain: wire.FormatUpstreams(wire.ParseUpstreams(h.Get(wire.HeaderUpstream))),
	}
	if isOurs(resp) {
		a.dialect = ours
	}
	a.runs, a.path = wire.ParseRuns(h.Get(wire.HeaderRuns)), wire.ParseTreePath(h.Get(wire.HeaderPath))
	if tag, ok := wire.ParseListingTag(a.validator); ok {
		a.e = tag.Fingerprint
	}
	if text := h.Get(wire.HeaderEpoch); text != "" {
		var err error
		if a.epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
			return a, fmt.Errorf("%w: epoch %.40q", mtree.ErrListing, text)
		}
	}
	return a, nil
}

// parseOne reads exactly one whole listing.
func parseOne(resp *http.Response, a *answer, room *room) (err error) {
	d := mtree.NewDecoder(&bounded{resp.Body, maxListing})
	d.Room = room.take
	if a.listing, err = d.Next(); err == io.EOF {
		err = mtree.ErrTruncated
	}
	if err == nil {
		if _, err = d.Next(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = fmt.Errorf("%w: text behind the #end line", mtree.ErrListing)
		}
	}
	if err == nil && a.listing.Path != "" {
		err = fmt.Errorf("%w: it is of another directory", mtree.ErrListing)
	}
	return askedFor(resp, err)
}

// askedFor names the question in an error of reading its answer.
func askedFor(resp *http.Response, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("GET %s: %w", resp.Request.URL.Redacted(), err)
}

// bounded fails, rather than ends, when more is read than expected.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(buf []byte) (int, error) {
	n, err := b.in.Read(buf)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: longer than any that is accepted", mtree.ErrListing)
	}
	return n, err
}
