package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// errNoPost says that something between here and the server lets no POST through.
var errNoPost = errors.New("no POST goes through to the source")

// noPostFor is how long no POST is tried after that.
const noPostFor = time.Minute

// post sends a POST. If a POST is refused, GETs do everything for a while.
func (s *Source) post(ctx context.Context, r request) (*http.Response, error) {
	if time.Now().Unix() < s.noPost.Load() {
		return nil, errNoPost
	}
	r.method, r.plain = http.MethodPost, true
	resp, err := s.do(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && refusesPost(status) {
		s.noPost.Store(time.Now().Add(noPostFor).Unix())
		return nil, fmt.Errorf("%w: %w", errNoPost, err)
	}
	return resp, err
}

// refusesPost reports whether the answer comes from a proxy that lets only GET and HEAD
// through, or no body of this length, or from a server that does not know POST.
func refusesPost(e *StatusError) bool {
	switch e.Status {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	case http.StatusBadRequest, http.StatusNotFound:
		return !e.byServe
	}
	return false
}
