package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/published"
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
		// Mirrors send this request all day: the root is open already.
		h.listing(w, r, q, h.tree.Root())
		return
	}
	dir, err := h.tree.OpenDir(t.path)
	for try := 1; err != nil && disk.IsLink(err) && !t.doubled; try++ {
		if real, kind, _ := h.tree.Resolve(t.path); try == published.FollowTries || kind == mtree.Dir && real != t.path {
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

// special returns the function that answers a query for something other than the listing,
// nil if the query does not ask for that.
func (h *Handler) special(q *dirRequest) func(http.ResponseWriter, *http.Request, *dirRequest) {
	_, wait := q.query.Wait()
	switch {
	case len(q.query) == 0:
	case q.has("since"):
		return h.since
	case q.has("changes"):
		return h.changes
	case q.has("tar"):
		return h.subtree
	case q.has("sums"):
		return h.dirSums
	case q.has("recent"):
		return h.recent
	case q.has("find"):
		return h.find
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
		if !q.hot && h.unchanged(r, q, q.self.MTime) {
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

// sendListing sends the listing from the cache, or reads the directory. a is the answer as
// far as it was known before.
func (h *Handler) sendListing(w http.ResponseWriter, r *http.Request, q *dirRequest, dir *disk.Dir, a *reply) {
	p, err := h.page(r, q, dir)
	if err != nil {
		h.fail(w, a, err)
		return
	}
	// The runs, too: they are read after the stamp.
	a.about = h.about(q.snap, q.path, p.Stamp, q.now) // guard: TestRunsOfAStampThatCameWhileItWaited
	a.date, a.tag = lastModified(p.Stamp, q.now), ""
	if p.Tag != "" {
		a.tag = wire.QuoteTag(p.Tag, string(q.coding))
	}
	if h.confirms(p, r, q) {
		h.send(w, a.notModified())
		return
	}
	h.sendPage(w, p, a)
}
