package serve

import "net/http"

// post answers POST: a list of paths comes in, their sums or a tar goes out.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	h.wrongMethod(w, r)
}
