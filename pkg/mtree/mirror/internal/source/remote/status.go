package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// StatusError is an answer with a status that the request did not ask for. It is
// source.ErrDenied, ErrGone or ErrMoved where the status says so.
type StatusError struct {
	Status int
	After  time.Duration // Retry-After, at most 30 s; 0: there is none

	what     string // the message
	byServe  bool   // it comes from serve, not from a proxy
	byOther  bool   // it comes from a serve with other options or rights than the root's
	location string // of a redirection; "": not a redirection
	https    bool   // the answer says that the server speaks HTTPS
}

func (e *StatusError) Error() string { return e.what }

// Is makes errors.Is find what the status says of the tree.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusForbidden:
		// A proxy's refusal says nothing about the tree. One of a serve with other rights says
		// nothing of what may be read with those of the root: no stamp moves when they are back.
		return e.byServe && (target == source.ErrDenied && !e.byOther || target == source.ErrMoved && e.byOther) // guard (without !e.byOther): TestOtherRightsInMidPass
	case http.StatusNotFound, http.StatusGone:
		return target == source.ErrGone
	case http.StatusPreconditionFailed:
		return target == source.ErrMoved
	}
	return false
}

// refusal returns the error for a status, wrapped by backoff.Permanent unless the reason
// may pass. options are the fingerprint of those with which the root was listed; nil or "": not known.
func refusal(resp *http.Response, options *string) error {
	e := &StatusError{
		Status: resp.StatusCode,
		what:   fmt.Sprintf("%s %s: %s", resp.Request.Method, resp.Request.URL.Redacted(), resp.Status),
	}
	by := resp.Header.Get(wire.HeaderOptions)
	e.byOther = options != nil && *options != "" && by != "" && by != *options
	if e.byServe = isServe(resp); !e.byServe && e.Status == http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		e.https = speaksTLS.Match(text)
	}
	if to := resp.Header.Get("Location"); to != "" {
		e.location = to
		e.what += fmt.Sprintf(" to %.200q: redirects are not followed, give that URL as SOURCE if it is right", to)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds <= 30 {
		e.After = time.Duration(seconds) * time.Second
	}
	switch {
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout,
		resp.StatusCode == http.StatusNotImplemented:
		return backoff.Permanent(e)
	case e.After > 0:
		return errors.Join(e, &backoff.RetryAfterError{Duration: e.After})
	}
	return e
}

// RetryAfter returns how long a server asked to wait, 0 if it did not.
func RetryAfter(err error) time.Duration {
	var status *StatusError
	if errors.As(err, &status) {
		return status.After
	}
	return 0
}

// IsAway reports whether no server is there to answer, or a proxy says so: to ask again
// costs nothing, and may succeed at any moment.
func IsAway(err error) bool {
	var status *StatusError
	var network net.Error
	var errno syscall.Errno
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return errors.As(err, &network) || errors.As(err, &errno)
}

// IsDown reports whether nothing could be connected to: no server is there.
func IsDown(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// StatusText names the status in a server's answer, "" for any other error. It has no
// path and no address.
func StatusText(err error) string {
	var status *StatusError
	if !errors.As(err, &status) {
		return ""
	}
	return fmt.Sprintf("%d %s", status.Status, http.StatusText(status.Status))
}
