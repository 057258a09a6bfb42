package serve

import (
	"errors"
	"io"
	"net/http"
	"time"

	"tidemark/pkg/mtree/serve/internal/pages"
	"tidemark/pkg/mtree/wire"
)

// Bounds of a list of paths that is posted. A client with more asks again.
const (
	maxPathBytes = 8 << 20
	bodyTimeout  = 30 * time.Second
)

// pathsStep is how much memory is asked for at once while a list of paths comes in.
const pathsStep = 64 << 10

// receivePaths is readPaths that keeps within the memory there is for all requests:
// who sends slowest is let go first. give must follow, also after an error.
func (h *Handler) receivePaths(w http.ResponseWriter, r *http.Request) (paths []string, give func(), err error) {
	control := http.NewResponseController(w)
	one, err := h.room.Take(&pages.Load{Bytes: pathsStep}, func() {
		_ = control.SetReadDeadline(time.Unix(1, 0)) // in-memory requests have none
	})
	if err != nil {
		return nil, func() {}, err
	}
	room := pathsStep
	paths, err = readPaths(w, r, func(path string) error {
		const header = 16 // bytes of a string
		if room -= len(path) + header; room >= 0 {
			return nil
		}
		step := max(pathsStep, -room)
		room += step
		return one.Grow(int64(step))
	})
	one.SetCut(cutting(w))
	return paths, func() { one.Give() }, err
}

// readPaths reads one escaped relative path a line, as they stand in listings.
// Each is a path below the directory asked; one that is none refuses the whole
// list, as a reader of a listing does. keep is told of each.
func readPaths(w http.ResponseWriter, r *http.Request, keep func(path string) error) ([]string, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // in-memory requests have none
	paths, err := wire.ReadPaths(http.MaxBytesReader(w, r.Body, maxPathBytes), keep)
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, wire.ErrTooManyPaths
	} else if err != nil {
		return nil, err
	}
	// What is left unread would be taken for the next request.
	_, err = io.Copy(io.Discard, io.LimitReader(r.Body, 1))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // the answer may take longer
	}
	return paths, err
}
