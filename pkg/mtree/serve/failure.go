package serve

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/pages"
)

// fail answers an error of the file system in place of a, which must not have been sent.
// A client that has gone gets no answer.
func (h *Handler) fail(w http.ResponseWriter, a *reply, err error) {
	if errors.Is(err, context.Canceled) {
		h.abort(err)
	}
	if a.refused(h.explain(err)); a.status == http.StatusForbidden {
		a.options = h.tree.Now().Fingerprint // another user may read it
	}
	h.send(w, a)
}

// explain returns how an error is answered. It logs errors that an operator can fix.
func (h *Handler) explain(err error) (status int, text string) {
	switch {
	case err == errBusy:
		return http.StatusTooManyRequests, "too many listings of large directories at once"
	case errors.Is(err, pages.ErrFull):
		return http.StatusTooManyRequests, "too much is being sent to slow clients"
	case disk.IsBeyond(err) && h.cfg.CrossMounts && !h.tree.Crosses():
		return http.StatusForbidden, "on another file system, where watch hears nothing"
	case disk.IsAbsent(err):
		return http.StatusNotFound, "not found"
	case errors.Is(err, disk.ErrAbove):
		return http.StatusServiceUnavailable, "a directory above is not readable"
	case disk.IsUnreadable(err):
		return http.StatusForbidden, "not readable"
	case disk.IsOutOfResources(err):
		h.logError(err, "raise the limit of descriptors (ulimit -n, LimitNOFILE=) or of memory; mirrors ask again")
		return http.StatusServiceUnavailable, "out of descriptors or memory for the moment"
	}
	h.logBroken(err)
	return http.StatusInternalServerError, "reading from disk failed"
}

// abort cuts the connection: what was sent so far must not look whole. The context of a
// request is canceled when its client has gone, but also when the client has closed its
// half of the connection and still reads: neither net/http nor we can tell which.
func (h *Handler) abort(err error) {
	if !errors.Is(err, context.Canceled) {
		h.cfg.Log.Debug("answer cut short", "error", h.tree.Quoted(err))
		h.cfg.Stats.Aborted.Add(1)
	}
	panic(http.ErrAbortHandler)
}

// logBroken logs that something cannot be read.
func (h *Handler) logBroken(err error) {
	h.logError(err, "look whether the disk is sound (dmesg); mirrors ask again")
}

// logError logs an error that an operator can fix, and how.
func (h *Handler) logError(err error, remedy string) {
	h.cfg.Log.Error("cannot serve", "error", h.tree.Quoted(err), "remedy", remedy)
}

// wrongMethod answers a request with a method that nothing here supports.
func (h *Handler) wrongMethod(w http.ResponseWriter, r *http.Request) {
	a := leaveBody(w, r)
	a.allow = "GET, HEAD, POST"
	h.send(w, a.refused(http.StatusMethodNotAllowed, "methods: GET, HEAD; POST for ?tar, ?sums and ?blocks"))
}

// Texts of refusals that several endpoints send.
const (
	replacedText = "the root was replaced"
	noStrongTag  = "a listing has no strong tag"
)

// leaveBody returns a reply that does not wait for the rest of the request's body.
// net/http reads the rest before it answers, so that the client reads the answer; without
// a deadline that takes as long as the client likes.
func leaveBody(w http.ResponseWriter, r *http.Request) *reply {
	if r.ContentLength == 0 {
		return &reply{}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second)) // in-memory requests have none
	return &reply{close: true}
}

// unauthorized turns a into the answer to a request without a token, and returns it.
func (a *reply) unauthorized() *reply {
	a.challenge = true
	return a.refused(http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN, or the token as the password of Basic (curl -u :TOKEN; tidemark-mirror --token-file FILE)")
}
