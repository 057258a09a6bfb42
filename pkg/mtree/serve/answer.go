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
)

// refuse sends a short text and nothing that would name a path of this host.
func (h *Handler) refuse(w http.ResponseWriter, status int, text string) {
	header := w.Header()
	for _, key := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Encoding"} {
		delete(header, key)
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-cache")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		header.Set("Retry-After", "5") // seconds
	}
	if status >= 500 {
		h.cfg.Stats.Failed.Add(1)
	} else {
		h.cfg.Stats.Refused.Add(1)
	}
	text = strconv.Itoa(status) + " " + text + "\n"
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that has gone needs no answer
}

// fail answers an error of the file system before anything was sent. A client
// that has gone meanwhile gets none.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		h.abort(err)
	case err == errBusy:
		h.refuse(w, http.StatusTooManyRequests, "too many listings of large directories at once")
	case errors.Is(err, errHeld):
		h.refuse(w, http.StatusTooManyRequests, "too much is being sent to slow clients")
	case disk.IsBeyond(err) && h.cfg.CrossMounts && !h.crosses():
		h.refuse(w, http.StatusForbidden, "on another file system, where watch hears nothing")
	case disk.IsAbsent(err):
		h.refuse(w, http.StatusNotFound, "not found")
	case errors.Is(err, errAbove):
		h.refuse(w, http.StatusServiceUnavailable, "a directory above is not readable")
	case disk.IsUnreadable(err):
		h.refuse(w, http.StatusForbidden, "not readable")
	case disk.IsShort(err):
		h.logError(err)
		h.refuse(w, http.StatusServiceUnavailable, "out of descriptors or memory for the moment")
	default:
		h.logError(err)
		h.refuse(w, http.StatusInternalServerError, "reading from disk failed")
	}
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

// leaveBody lets an answer go out that does not wait for the rest of the
// request's body: net/http reads it before it answers, so that the client gets
// to read the answer, and with no deadline that lasts as long as the client
// likes.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second)) // in-memory requests have none
}

// abort cuts the connection: what was sent so far must not look whole. The
// context of a request is canceled when its client has gone, or has closed its
// half of the connection only and reads on: net/http tells the two from each
// other no more than we can.
func (h *Handler) abort(err error) {
	if !errors.Is(err, context.Canceled) {
		h.cfg.Log.Debug("answer cut short", "err", h.cfg.quoted(err))
		h.cfg.Stats.Aborted.Add(1)
	}
	panic(http.ErrAbortHandler)
}

func (h *Handler) logError(err error) { h.cfg.Log.Error("cannot serve", "err", h.cfg.quoted(err)) }

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

// announce sets the length of the body.
func announce(w http.ResponseWriter, length int64) {
	w.Header()["Content-Length"] = []string{strconv.FormatInt(length, 10)}
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
