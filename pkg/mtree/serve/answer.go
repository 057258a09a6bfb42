package serve

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/serve/internal/published"
)

// fail answers an error of the file system in place of a, of which nothing was sent. A
// client that has gone meanwhile gets no answer.
func (h *Handler) fail(w http.ResponseWriter, a reply, err error) {
	if errors.Is(err, context.Canceled) {
		h.abort(err)
	}
	h.send(w, a.refused(h.explain(err)))
}

// explain returns how an error is answered, and logs one that the operator can mend.
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
	case errors.Is(err, published.ErrAbove):
		return http.StatusServiceUnavailable, "a directory above is not readable"
	case disk.IsUnreadable(err):
		return http.StatusForbidden, "not readable"
	case disk.IsOutOfResources(err):
		h.logError(err)
		return http.StatusServiceUnavailable, "out of descriptors or memory for the moment"
	}
	h.logError(err)
	return http.StatusInternalServerError, "reading from disk failed"
}

// leaveBody returns a reply that does not wait for the rest of the request's body:
// net/http reads the body before it answers, so that the client gets to read the
// answer, and without a deadline that lasts as long as the client likes.
func leaveBody(w http.ResponseWriter, r *http.Request) reply {
	if r.ContentLength == 0 {
		return reply{}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second)) // in-memory requests have none
	return reply{close: true}
}

// abort cuts the connection: what was sent so far must not look whole. The
// context of a request is canceled when its client has gone, or has closed its
// half of the connection only and reads on: net/http tells the two from each
// other no more than we can.
func (h *Handler) abort(err error) {
	if !errors.Is(err, context.Canceled) {
		h.cfg.Log.Debug("answer cut short", "error", h.tree.Quoted(err))
		h.cfg.Stats.Aborted.Add(1)
	}
	panic(http.ErrAbortHandler)
}

func (h *Handler) logError(err error) { h.cfg.Log.Error("cannot serve", "error", h.tree.Quoted(err)) }

// writeAll sends body in pieces, each with a deadline of its own. Errors need
// no answer: the client has gone, and net/http closes a connection on which
// less was written than announced.
func writeAll(w http.ResponseWriter, body []byte) {
	for first := true; len(body) > 0; first = false {
		if !first {
			extend(w)
		}
		n := min(len(body), maxPiece)
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}
