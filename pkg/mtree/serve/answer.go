package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/serve/internal/pages"
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
	case disk.IsBeyond(err) && h.cfg.CrossMounts && !h.crosses():
		return http.StatusForbidden, "on another file system, where watch hears nothing"
	case disk.IsAbsent(err):
		return http.StatusNotFound, "not found"
	case errors.Is(err, errAbove):
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

// errAbove says that a directory above the one that something is in may not be
// entered. That is no 403: who gets one completes what is above it, and giving the
// right back there moves no stamp in between.
var errAbove = errors.New("a directory further up may not be entered")

// above adds errAbove to an error of opening path if it is due. Cost, where
// permissions are the cause: as StatPath.
func (h *Handler) above(path string, err error) error {
	parent := mtree.ParentPath(path)
	if parent == "" || !disk.IsUnreadable(err) || errors.Is(err, state.ErrUnread) {
		return err
	}
	if _, parentErr := h.tree.root.StatPath(parent, h.crosses()); disk.IsUnreadable(parentErr) {
		return fmt.Errorf("%w: %w", errAbove, err)
	}
	return err
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
		h.cfg.Log.Debug("answer cut short", "error", h.cfg.quoted(err))
		h.cfg.Stats.Aborted.Add(1)
	}
	panic(http.ErrAbortHandler)
}

func (h *Handler) logError(err error) { h.cfg.Log.Error("cannot serve", "error", h.cfg.quoted(err)) }

// quoted returns the text of err in quotes, for names are untrusted, and with
// paths from the root on: where on this host the tree is stays out of the log.
func (c *Config) quoted(err error) string {
	text := err.Error()
	if root := strings.TrimSuffix(c.Root, "/"); strings.HasPrefix(root, "/") {
		text = strings.ReplaceAll(text, root+"/", "/")
		text = strings.ReplaceAll(text, root, "/")
	}
	return strconv.Quote(text)
}

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
