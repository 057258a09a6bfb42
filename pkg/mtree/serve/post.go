package serve

import (
	"errors"
	"net/http"

	"tidemark/pkg/mtree/wire"
)

// post answers POST: a list of paths comes in, their sums or a tar goes out.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r)
	switch {
	case err != nil || h.hidden(t.path, true):
		leaveBody(w, r)
		h.refuse(w, http.StatusNotFound, "not found")
		return
	case !t.slash || !t.has("tar") && !t.has("sums"):
		leaveBody(w, r)
		h.wrongMethod(w, r)
		return
	}
	if len(r.TransferEncoding) > 0 {
		// It may have had a length too, which others on the way may have
		// believed (RFC 9112, 6.1): no more requests on this connection.
		w.Header().Set("Connection", "close")
	}
	paths, give, err := h.receivePaths(w, r)
	defer give()
	switch {
	case errors.Is(err, errHeld):
		leaveBody(w, r)
		h.fail(w, err)
		return
	case errors.Is(err, wire.ErrTooManyPaths):
		leaveBody(w, r)
		h.refuse(w, http.StatusRequestEntityTooLarge, "too many paths: send fewer at a time")
		return
	case err != nil:
		leaveBody(w, r)
		h.refuse(w, http.StatusBadRequest, "want one escaped relative path a line")
		return
	}
	v := h.newView(r, &t)
	if v.snap.replaced {
		h.refuse(w, http.StatusServiceUnavailable, "the root was replaced")
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

// enter lets a request in that makes work or takes memory without bound, if this
// client may have one more such request under way, or before long; if not, the answer
// has been given.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request, v *view) (leave func(), ok bool) {
	v.place = &place{client: clientOf(r), cut: cutting(w)}
	leave, err := h.gate.wait(r, v.place)
	switch {
	case err == errBusy:
		h.refuse(w, http.StatusTooManyRequests, "too many of these requests at once")
	case err != nil:
		h.fail(w, err)
	}
	return leave, err == nil
}

// bulk answers ?tar and ?sums for these paths below the directory.
func (h *Handler) bulk(w http.ResponseWriter, r *http.Request, v *view, paths []string) {
	h.startBulk(w, v)
	if v.has("tar") {
		w.Header()["Content-Type"] = []string{wire.TarType}
		h.sendTar(w, r, v, paths)
		return
	}
	w.Header()["Content-Type"] = []string{wire.SumsType}
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
		h.fail(w, err)
	}
	return err == nil
}

// startBulk sets the headers that streams of files and of sums have in common.
func (h *Handler) startBulk(w http.ResponseWriter, v *view) {
	header := w.Header()
	h.setTree(header, v.snap, v.path, v.self.MTime, v.now)
	header["Accept-Ranges"] = rangesNone
	header["Cache-Control"] = []string{"no-store"}
}
