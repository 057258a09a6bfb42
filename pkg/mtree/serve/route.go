package serve

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"tidemark/pkg/mtree/serve/internal/negotiate"
)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cfg.Stats.Requests.Add(1)
	extend(w)
	if negotiate.TakesPages(r) {
		w = &browser{w, r}
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !h.guard.allows(r):
		h.send(w, leaveBody(w, r).unauthorized())
	case r.ContentLength != 0 && reads:
		h.send(w, leaveBody(w, r).refused(http.StatusBadRequest, "a body is expected with POST only"))
	case r.ContentLength != 0 && r.Method != http.MethodPost:
		h.wrongMethod(w, r)
	case reads && !mayAskStatus(r):
		h.get(w, r)
	default:
		h.routes.ServeHTTP(w, r)
	}
}

// route lets chi do what it is good at: the POST endpoints and ?status, by method. Paths
// of the tree are not routed. chi copies each request, which costs 1.1 KiB while a long
// poll waits, and a twentieth of the time of a small answer. And it routes by the raw
// path or by the decoded one, whichever there is, but parseTarget reads the URL as it was
// sent.
func (h *Handler) route() http.Handler {
	r := chi.NewRouter()
	r.Post("/*", h.post)
	r.Get("/*", h.getStatus)
	r.Head("/*", h.getStatus)
	r.MethodNotAllowed(h.wrongMethod)
	r.NotFound(h.wrongMethod) // only targets without a leading slash, as in OPTIONS *
	return r
}

// mayAskStatus reports whether a request may be one for /?status; getStatus decides.
func mayAskStatus(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "status") }

// get answers GET and HEAD of what is in the tree.
func (h *Handler) get(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r)
	switch {
	case err != nil || h.tree.Hides(t.path, t.slash):
		h.send(w, (&reply{}).refused(http.StatusNotFound, "not found"))
	case h.tree.Now().Replaced:
		h.send(w, (&reply{}).refused(http.StatusServiceUnavailable, replacedText))
	case t.slash:
		h.directory(w, r, &t)
	default:
		h.file(w, r, &t)
	}
}

// getStatus answers GET and HEAD of /?status, and of targets that only look like it.
func (h *Handler) getStatus(w http.ResponseWriter, r *http.Request) {
	if t, err := parseTarget(r); err == nil && t.path == "" && t.has("status") {
		h.status(w, r, &t)
		return
	}
	h.get(w, r)
}
