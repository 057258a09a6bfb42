package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"tidemark/pkg/mtree"
)

// Bounds of a list of paths that is posted. A client with more asks again.
const (
	maxPaths     = 10_000
	maxPathBytes = 8 << 20
	maxPathLine  = 3*4096 + 1 // PATH_MAX, escaped throughout
	bodyTimeout  = 30 * time.Second
)

// errTooMany says that a list of paths is over the bounds.
var errTooMany = errors.New("too many paths")

// readPaths reads one escaped relative path a line, as they stand in listings.
// Each is a path below the directory asked; one that is none refuses the whole
// list, as a reader of a listing does.
func readPaths(w http.ResponseWriter, r *http.Request) ([]string, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // in-memory requests have none
	lines := bufio.NewScanner(http.MaxBytesReader(w, r.Body, maxPathBytes))
	lines.Buffer(make([]byte, 0, 4096), maxPathLine)
	var paths []string
	for lines.Scan() {
		if len(paths) == maxPaths {
			return nil, errTooMany
		}
		path, err := mtree.UnescapeName(lines.Text())
		if err == nil && path == "" {
			err = fmt.Errorf("%w: empty", mtree.ErrName)
		}
		if err == nil {
			err = mtree.CheckPath(path)
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	var over *http.MaxBytesError
	if err := lines.Err(); errors.As(err, &over) || errors.Is(err, bufio.ErrTooLong) {
		return nil, errTooMany
	} else if err != nil {
		return nil, err
	}
	// What is left unread would be taken for the next request.
	_, err := io.Copy(io.Discard, io.LimitReader(r.Body, 1))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // the answer may take longer
	}
	return paths, err
}
