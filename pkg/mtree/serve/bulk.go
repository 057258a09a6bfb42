package serve

import (
	"net/http"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/render"
)

// enter admits a request that makes work or takes memory without bound; leave must
// follow. If there is no place for it, enter sends the answer and returns false.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request, q *dirRequest) (leave func(), ok bool) {
	q.place = &place{client: clientOf(r), cut: cutting(w)}
	leave, err := h.bulkLimit.enter(r, q.place)
	switch {
	case err == errBusy:
		h.send(w, q.base().refused(http.StatusTooManyRequests, "too many of these requests at once"))
	case err != nil:
		h.fail(w, q.base(), err)
	}
	return leave, err == nil
}

// ready looks at the directory that is asked about. If that fails, it sends the answer
// and returns false.
func (h *Handler) ready(w http.ResponseWriter, q *dirRequest) bool {
	dir, err := h.tree.OpenDir(q.path)
	if err == nil {
		defer dir.Close()
		err = h.look(q, dir)
	}
	if err != nil {
		h.fail(w, q.base(), err)
	}
	return err == nil
}

// bulkReply returns the reply that begins a stream of files or of sums.
func (h *Handler) bulkReply(q *dirRequest, kind string) *reply {
	a := h.replyAbout(q)
	a.kind, a.ranges, a.cache = kind, "none", "no-store"
	return a
}

// sendFound sends what a search found: entries that are named by their paths. leave gives the place of the
// search back.
func (h *Handler) sendFound(w http.ResponseWriter, q *dirRequest, entries []mtree.Entry, leave func()) {
	q.noStore, q.search = true, true
	body := h.render(q, &mtree.Listing{Stamp: q.self.MTime, Entries: entries})
	if q.linkErr != nil {
		h.fail(w, q.base(), q.linkErr)
		return
	}
	if q.coding == render.Gzip {
		body = render.Compress(body)
	}
	give, err := h.keep(w, body)
	defer give()
	leave() // the client may take long to read the answer
	if err != nil {
		h.fail(w, q.base(), err)
		return
	}
	extend(w)
	a := h.listingReply(q)
	a.more = q.more
	h.send(w, a.withBody(body))
}
