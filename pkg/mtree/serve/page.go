package serve

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// key returns which listing v asks for.
func (v *view) key() pages.Key { return pages.Key{Path: v.path, Format: v.format, Coding: v.coding} }

// time returns which times of its directory v has seen.
func (v *view) time() pages.Time {
	return pages.Time{Node: v.self.Node, MTime: v.self.MTime, CTime: v.self.CTime, Fingerprint: v.snap.e}
}

// page returns the listing of dir as it is to be sent: from the cache, or made, with
// all who want the same now.
func (h *Handler) page(r *http.Request, v *view, dir *disk.Dir) (*pages.Page, error) {
	key, time := pages.FlightKey{Key: v.key(), Fingerprint: v.snap.e, State: v.snap.State}, pages.Time{}
	if v.snap.State == wire.Watched {
		if p := h.cache.Get(v.key(), v.time()); p != nil {
			h.cfg.Stats.Cached.Add(1)
			return p, nil
		}
		time = v.time()
	}
	return h.share(r, key, time, func() (*pages.Page, error) { return h.makePage(r, v, dir) })
}

// share makes a page with all who want the same. If the client of its maker goes while
// the maker waits for its turn, the page is made anew.
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
func (h *Handler) makePage(r *http.Request, v *view, dir *disk.Dir) (*pages.Page, error) {
	leave, err := h.passLarge(r, v.self.Size)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := h.look(v, dir); err != nil { // anew: it waited for another reading, maybe
		return nil, err
	}
	l, err := h.read(v, dir)
	if err != nil {
		return nil, err
	}
	p := h.pageOf(v, l)
	if proves(v, l) && v.snap.State == wire.Watched {
		h.cache.Put(v.key(), v.time(), p)
	}
	return h.live.Same(p), nil
}

// proves reports whether the stamp that the directory had before it was read proves
// the listing for as long as the directory has that stamp.
func proves(v *view, l *mtree.Listing) bool {
	return !l.Hot && l.Stamp == v.self.MTime && v.stamped(l)
}

// pageOf renders a listing. Its tag is made of the stamp if that proves it, else of a hash
// of its body.
func (h *Handler) pageOf(v *view, l *mtree.Listing) *pages.Page {
	stamped := v.stamped(l)
	p := pages.New(v.key(), l, h.form(v, l), !stamped)
	switch p.Stamped = stamped; {
	case stamped:
		p.Tag = v.stampTag(l.Stamp, l.Hot)
	case p.Whole:
		p.Tag = wire.ListingTag{Validator: p.Sum, Format: string(v.format), Fingerprint: v.snap.e}.String()
	}
	return p
}

// confirms reports whether the client has the listing already. A tag decides where
// one is given; dates are for people, caches and wget (RFC 9110, 13.1.3).
func confirms(p *pages.Page, r *http.Request, now mtree.Stamp) bool {
	if p.Stamped && p.Hot {
		return false
	}
	if tags := negotiate.Field(r, "If-None-Match"); tags != "" {
		return p.Tag != "" && negotiate.NoneMatch(tags, p.Tag)
	}
	date, early := negotiate.DirDate(p.Stamp, now)
	return p.Stamped && !early && negotiate.SameDate(r.Header.Get("If-Modified-Since"), date)
}

// sendPage sends a page, in pieces each with a deadline of its own.
func (h *Handler) sendPage(w http.ResponseWriter, p *pages.Page, a reply) {
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
	h.start(w, &a)
	for _, piece := range p.Pieces {
		extend(w)
		if _, err := w.Write(piece); err != nil {
			h.abort(err)
		}
	}
}

// hold counts a page among those that are being sent; small ones are not counted.
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

// passLarge lets a request read a directory of this size: at once, unless it is a
// large one and such are being read already; then it waits. leave must follow.
func (h *Handler) passLarge(r *http.Request, size int64) (leave func(), err error) {
	if size <= h.largeSize {
		return func() {}, nil
	}
	out, err := h.large.wait(r, &place{client: clientOf(r)})
	if err != nil {
		return nil, err
	}
	return func() {
		// 140 bytes an entry are garbage now: without this they lie beside those of
		// the next. It takes a hundredth of the time of the reading.
		debug.FreeOSMemory()
		out()
	}, nil
}

// listingMemory is what a listing takes that is kept as it was read, in bytes.
func listingMemory(l *mtree.Listing) int64 { return 200 * int64(len(l.Entries)) }

// cutting returns what ends the writing of w at once, from another goroutine.
func cutting(w http.ResponseWriter) func() {
	return func() {
		if own, ok := w.(interface{ CutOff() }); ok {
			own.CutOff()
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // in-memory writers have none
	}
}
