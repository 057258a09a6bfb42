package serve

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// page returns the listing of dir, ready to be sent: from the cache, unless the client wants it
// read now, or made once for all requests that want it now.
func (h *Handler) page(r *http.Request, q *dirRequest, dir *disk.Dir) (*pages.Page, error) {
	key, time := pages.FlightKey{Key: q.key(), Fingerprint: q.snap.Fingerprint, State: q.snap.State}, pages.Time{}
	if q.snap.State == wire.Watched {
		p := h.cache.Get(q.key(), q.time())
		if p != nil && !strings.Contains(negotiate.Field(r, "Cache-Control"), "no-cache") { // guard (without !strings.Contains): TestCacheIsPassedBy
			h.cfg.Stats.Cached.Add(1)
			return p, nil
		}
		time = q.time()
	}
	return h.share(r, key, time, func() (*pages.Page, error) { return h.makePage(r, q, dir) })
}

// share makes a page for all requests that want it. If the client of the request that
// makes it goes away while that request waits for its turn, the page is made anew.
func (h *Handler) share(r *http.Request, key pages.FlightKey, time pages.Time, make func() (*pages.Page, error)) (*pages.Page, error) {
	for {
		p, err := h.flights.Do(key, time, make)
		if err != nil && errors.Is(err, context.Canceled) && r.Context().Err() == nil {
			continue
		}
		return p, err
	}
}

// makePage reads the directory and renders its listing.
func (h *Handler) makePage(r *http.Request, q *dirRequest, dir *disk.Dir) (*pages.Page, error) {
	leave, err := h.enterLarge(r, q.self.Size)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := h.look(q, dir); err != nil { // again: it may have waited for another read
		return nil, err
	}
	l, err := h.read(q, dir)
	if err != nil {
		return nil, err
	}
	if q.format.IsPage() {
		q.readme = h.readReadme(q, l)
	}
	p := h.pageOf(q, l)
	if q.linkErr != nil { // guard: TestFound
		return nil, q.linkErr // a listing is whole, or none
	}
	if proves(q, l) && q.snap.State == wire.Watched {
		h.cache.Put(q.key(), q.time(), p)
	}
	return h.live.Same(p), nil
}

// proves reports whether the stamp that the directory had before it was read proves
// the listing for as long as the directory has that stamp.
func proves(q *dirRequest, l *mtree.Listing) bool {
	return !l.Hot && l.Stamp == q.self.MTime && q.stamped(l)
}

// pageOf renders a listing. Its tag is made of the stamp if that proves it, else of a hash
// of its body.
func (h *Handler) pageOf(q *dirRequest, l *mtree.Listing) *pages.Page {
	stamped := q.stamped(l)
	p := pages.New(q.key(), l, h.form(q, l), !stamped)
	switch p.Stamped = stamped; {
	case stamped:
		p.Tag = q.stampTag(l.Stamp, l.Hot)
	case p.Whole:
		p.Tag = q.listingTag(p.Sum, false)
	}
	return p
}

// confirms reports whether the client has the listing already. A tag decides if there is
// one; dates are for people, caches and wget (RFC 9110, 13.1.3).
func (h *Handler) confirms(p *pages.Page, r *http.Request, q *dirRequest) bool {
	if p.Stamped && p.Hot {
		return false
	}
	if tags := negotiate.Field(r, "If-None-Match"); tags != "" {
		return p.Tag != "" && negotiate.NoneMatch(tags, p.Tag)
	}
	return p.Stamped && h.sameDate(r, q, p.Stamp)
}

// sendPage sends a page, in pieces each with a deadline of its own.
func (h *Handler) sendPage(w http.ResponseWriter, p *pages.Page, a *reply) {
	give, err := h.hold(w, p)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	defer give()
	extend(w)
	if p.Whole {
		h.send(w, a.withBody(p.Pieces[0]))
		return
	}
	h.start(w, a)
	for _, piece := range p.Pieces {
		extend(w)
		if _, err := w.Write(piece); err != nil {
			h.abort(err)
		}
	}
}

// hold counts a page among those that are being sent, until give is called. Small pages
// are not counted.
func (h *Handler) hold(w http.ResponseWriter, p *pages.Page) (give func(), err error) {
	if p.Size < pages.Small {
		return func() {}, nil
	}
	one, err := h.room.Take(&p.Load, cutting(w))
	if err != nil {
		return nil, err
	}
	h.live.Begin(p)
	return func() {
		one.Give()
		h.live.End(p)
	}, nil
}

// keep counts a body that was made for one client, as hold does a page. give must follow, also
// after an error.
func (h *Handler) keep(w http.ResponseWriter, body []byte) (give func(), err error) {
	size := int64(cap(body))
	if size < pages.Small { // guard (always): TestSlowReadersOfChanges
		return func() {}, nil
	}
	one, err := h.room.Take(&pages.Load{Bytes: size}, cutting(w))
	if err != nil {
		return func() {}, err
	}
	return one.Give, nil
}
