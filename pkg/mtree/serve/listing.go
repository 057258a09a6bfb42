package serve

import (
	"math"
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/negotiate"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// directory answers GET and HEAD of a URL that ends in a slash.
func (h *Handler) directory(w http.ResponseWriter, r *http.Request, t *target) {
	q := h.newDirRequest(r, t)
	if answer := h.special(q); answer != nil {
		answer(w, r, q)
		return
	}
	if t.path == "" {
		// The request that mirrors make all day: the root is open already.
		h.listing(w, r, q, h.tree.Root())
		return
	}
	dir, err := h.tree.OpenDir(t.path)
	for try := 1; err != nil && disk.IsLink(err) && !t.doubled; try++ {
		if real, kind := h.tree.Resolve(t.path); try == published.FollowTries || kind == mtree.Dir && real != t.path {
			h.throughLink(w, r, t, t.path, err)
			return
		}
		dir, err = h.tree.OpenDir(t.path) // a directory may have taken the symlink's name meanwhile
	}
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	defer dir.Close()
	h.listing(w, r, q, dir)
}

// special returns what answers a query key that asks for something else than the listing,
// nil if there is none.
func (h *Handler) special(q *dirRequest) func(http.ResponseWriter, *http.Request, *dirRequest) {
	_, wait := q.query.Wait()
	switch {
	case len(q.query) == 0:
	case q.has("since"):
		return h.since
	case q.has("tar"):
		return h.subtree
	case q.has("sums"):
		return h.dirSums
	case q.has("recent"):
		return h.recent
	case wait:
		return h.listingWhenNew
	}
	return nil
}

// listing answers for an open directory: 304 and HEAD without reading it if the stamp
// proves the listing.
func (h *Handler) listing(w http.ResponseWriter, r *http.Request, q *dirRequest, dir *disk.Dir) {
	if err := h.look(q, dir); err != nil {
		h.fail(w, q.base(), err)
		return
	}
	if mismatched(r) {
		h.send(w, h.replyAbout(q).refused(http.StatusPreconditionFailed, noStrongTag))
		return
	}
	a := h.listingReply(q)
	a.date = lastModified(q.self.MTime, q.now)
	if h.byStamp(q) {
		a.tag = wire.QuoteTag(q.stampTag(q.self.MTime, q.hot), string(q.coding))
		if !q.hot && q.unchanged(r, q.self.MTime) {
			h.send(w, a.notModified())
			return
		}
	}
	if r.Method == http.MethodHead {
		h.send(w, a)
		return
	}
	h.sendListing(w, r, q, dir, a)
}

// replyAbout returns what every answer has about a directory that was looked at.
func (h *Handler) replyAbout(q *dirRequest) reply {
	a := q.base()
	a.about = h.about(q.snap, q.path, q.self.MTime, q.now)
	return a
}

// listingReply returns the answer with a listing, without its validators and its body.
func (h *Handler) listingReply(q *dirRequest) reply {
	a := h.replyAbout(q)
	a.kind, a.policy, a.coding, a.ranges = q.format.ContentType(), h.policy(q.format), q.coding, "none"
	a.vary, a.cache = "Accept-Encoding, Accept, User-Agent", "private, max-age=0"
	if q.explicit {
		a.vary, a.cache = "Accept-Encoding", h.caching("public, max-age=0, s-maxage=1, stale-while-revalidate=0")
	}
	if q.noStore {
		a.cache = "no-store"
	}
	return a
}

// mismatched reports whether a request has a strong tag as its condition, which no listing
// has (RFC 9110, 13.1.1).
func mismatched(r *http.Request) bool {
	tags := negotiate.Field(r, "If-Match")
	return tags != "" && !negotiate.AnyTag(tags, func(string) bool { return false })
}

const noStrongTag = "a listing has no strong tag"

// sendListing sends the listing from the cache, or reads the directory. a is the answer as
// far as it was known before.
func (h *Handler) sendListing(w http.ResponseWriter, r *http.Request, q *dirRequest, dir *disk.Dir, a reply) {
	p, err := h.page(r, q, dir)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	a.about.stamp, a.date, a.tag = p.Stamp, lastModified(p.Stamp, q.now), ""
	if p.Tag != "" {
		a.tag = wire.QuoteTag(p.Tag, string(q.coding))
	}
	if confirms(p, r, q.now) {
		h.send(w, a.notModified())
		return
	}
	h.sendPage(w, p, a)
}

// form returns the form of a listing in the format that q asks for.
func (h *Handler) form(q *dirRequest, l *mtree.Listing) render.Form {
	o := render.Options{Path: q.path, Search: q.search, Follow: func(link mtree.Entry) (mtree.Entry, []byte) { return h.tree.ShowLink(q.path, link) }}
	if q.format == render.HTML && !q.search && q.stamped(l) && !l.Hot {
		o.Tag = q.stampTag(l.Stamp, false)
	}
	return render.New(q.format, l, o)
}

// policy returns the Content-Security-Policy of a listing.
func (h *Handler) policy(f render.Format) string {
	if f == render.HTML {
		return h.pagePolicy
	}
	return render.NoScripts
}

// render returns the whole body of a listing.
func (h *Handler) render(q *dirRequest, l *mtree.Listing) []byte {
	form := h.form(q, l)
	body, _ := render.UpTo(nil, math.MaxInt, form, l.Entries)
	return form.Tail(body)
}
