package serve

import (
	"errors"
	"io"
	"net/http"
	"time"

	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// post answers POST: the request has a list of paths, the answer is a tar stream of these
// files, their sums, or the sums of their blocks.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r)
	switch {
	case err != nil || h.tree.Hides(t.path, true):
		h.send(w, leaveBody(w, r).refused(http.StatusNotFound, "not found"))
		return
	case t.slash && t.has("tar"):
		answerPaths(h, w, r, &t, wire.ReadPaths, h.sendTar)
	case t.slash && t.has("sums"):
		answerPaths(h, w, r, &t, wire.ReadPaths, h.sendSums)
	case t.slash && t.has("blocks"):
		answerPaths(h, w, r, &t, wire.ReadBlocksOf, h.sendBlocks)
	default:
		h.wrongMethod(w, r)
	}
}

// pathReader reads a list of paths, each with what is asked of it, and gives each path to keep.
type pathReader[T any] func(in io.Reader, keep func(path string) error) ([]T, error)

// answerPaths receives a list of paths, admits the request, and answers with send.
func answerPaths[T any](h *Handler, w http.ResponseWriter, r *http.Request, t *target, read pathReader[T],
	send func(w http.ResponseWriter, r *http.Request, q *dirRequest, paths []T)) {
	r, cut, end := untilCut(w, r)
	defer end()
	paths, give, err := receivePaths(h, w, r, cut, read)
	defer give()
	if err != nil {
		h.send(w, h.refusedPaths(leaveBody(w, r), err))
		return
	}
	q := h.newDirRequest(r, t)
	// A chunked body may have had a length too, which a proxy may have believed (RFC 9112,
	// 6.1): no more requests on this connection.
	q.close = len(r.TransferEncoding) > 0
	if q.snap.Replaced {
		h.send(w, q.base().refused(http.StatusServiceUnavailable, replacedText))
		return
	}
	if !h.ready(w, q) {
		return
	}
	leave, ok := h.enter(w, r, q)
	if !ok {
		return
	}
	defer leave()
	send(w, r, q, paths)
}

// refusedPaths returns the answer to a list of paths that could not be received.
func (h *Handler) refusedPaths(a *reply, err error) *reply {
	switch {
	case errors.Is(err, pages.ErrFull):
		return a.refused(h.explain(err))
	case errors.Is(err, wire.ErrTooManyPaths):
		return a.refused(http.StatusRequestEntityTooLarge, "too many paths: send fewer at a time")
	}
	return a.refused(http.StatusBadRequest, "want one escaped relative path a line")
}

// Bounds of a list of paths. A client with more paths sends several requests.
const (
	maxPathBytes = 8 << 20          // bytes of a list
	bodyTimeout  = 30 * time.Second // for receiving it
)

// pathsStep is how many bytes of room are taken at once while a list of paths comes in.
const pathsStep = 64 << 10

// receivePaths does readPaths within the room that all requests share: the client that
// takes longest is cut first, later by cut. give must follow, also after an error.
func receivePaths[T any](h *Handler, w http.ResponseWriter, r *http.Request, cut func(), read pathReader[T]) (paths []T, give func(), err error) {
	control := http.NewResponseController(w)
	one, err := h.room.Take(&pages.Load{Bytes: pathsStep}, func() {
		_ = control.SetReadDeadline(time.Unix(1, 0)) // in-memory requests have none
	})
	if err != nil {
		return nil, func() {}, err
	}
	room := pathsStep
	paths, err = readPaths(w, r, read, func(path string) error {
		const header = 24 // bytes of a string, and of a number
		if room -= len(path) + header; room >= 0 {
			return nil
		}
		step := max(pathsStep, -room)
		room += step
		return one.Grow(int64(step))
	})
	if err == nil {
		one.SetCut(cut)
	}
	return paths, func() { one.Give() }, err
}

// readPaths reads one escaped relative path a line, escaped as in listings. Each is below
// the directory that is asked about; if one is not, the whole list is refused, as a
// reader of listings would. keep takes each path.
func readPaths[T any](w http.ResponseWriter, r *http.Request, read pathReader[T], keep func(path string) error) ([]T, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // in-memory requests have none
	paths, err := read(http.MaxBytesReader(w, r.Body, maxPathBytes), keep)
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, wire.ErrTooManyPaths
	} else if err != nil {
		return nil, err
	}
	// Else an unread rest would be taken for the next request.
	_, err = io.Copy(io.Discard, io.LimitReader(r.Body, 1))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // the answer may take longer
	}
	return paths, err
}
