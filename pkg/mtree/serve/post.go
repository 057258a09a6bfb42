package serve

import (
	"errors"
	"net/http"

	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// post answers POST: a list of paths comes in, their sums or a tar goes out.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r)
	switch {
	case err != nil || h.hidden(t.path, true):
		h.send(w, leaveBody(w, r).refused(http.StatusNotFound, "not found"))
		return
	case !t.slash || !t.has("tar") && !t.has("sums"):
		h.wrongMethod(w, r)
		return
	}
	paths, give, err := h.receivePaths(w, r)
	defer give()
	if err != nil {
		h.send(w, h.refusedPaths(leaveBody(w, r), err))
		return
	}
	v := h.newView(r, &t)
	// A body in chunks may have had a length too, which others on the way may have
	// believed (RFC 9112, 6.1): no more requests on this connection.
	v.base.close = len(r.TransferEncoding) > 0
	if v.snap.replaced {
		h.send(w, v.base.refused(http.StatusServiceUnavailable, replacedText))
		return
	}
	if !h.ready(w, v) {
		return
	}
	leave, ok := h.enter(w, r, v)
	if !ok {
		return
	}
	defer leave()
	h.bulk(w, r, v, paths)
}

// refusedPaths returns the answer to a list of paths that could not be received.
func (h *Handler) refusedPaths(a reply, err error) reply {
	switch {
	case errors.Is(err, pages.ErrFull):
		return a.refused(h.explain(err))
	case errors.Is(err, wire.ErrTooManyPaths):
		return a.refused(http.StatusRequestEntityTooLarge, "too many paths: send fewer at a time")
	}
	return a.refused(http.StatusBadRequest, "want one escaped relative path a line")
}

// enter lets a request in that makes work or takes memory without bound, if this
// client may have one more such request under way, or before long; if not, the answer
// has been given.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request, v *view) (leave func(), ok bool) {
	v.place = &place{client: clientOf(r), cut: cutting(w)}
	leave, err := h.gate.wait(r, v.place)
	switch {
	case err == errBusy:
		h.send(w, v.base.refused(http.StatusTooManyRequests, "too many of these requests at once"))
	case err != nil:
		h.fail(w, v.base, err)
	}
	return leave, err == nil
}

// bulk answers ?tar and ?sums for these paths below the directory.
func (h *Handler) bulk(w http.ResponseWriter, r *http.Request, v *view, paths []string) {
	if v.has("tar") {
		h.sendTar(w, r, v, paths)
		return
	}
	h.sendSums(w, r, v, paths)
}

// ready looks at the directory, which must be there to be asked about; if it
// is not, the answer has been given.
func (h *Handler) ready(w http.ResponseWriter, v *view) bool {
	dir, err := h.openDir(v.path)
	if err == nil {
		defer dir.Close()
		err = h.look(v, dir)
	}
	if err != nil {
		h.fail(w, v.base, err)
	}
	return err == nil
}

// bulkReply returns the answer that begins a stream of files or of sums.
func (h *Handler) bulkReply(v *view, kind string) reply {
	a := h.replyAbout(v)
	a.kind, a.ranges, a.cache = kind, "none", "no-store"
	return a
}
