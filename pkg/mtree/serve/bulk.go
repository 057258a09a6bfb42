package serve

import "net/http"

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
